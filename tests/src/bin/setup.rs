//! A limited server with a set-up from environment variables:
//!
//! - `SETUP_LIMITER`: where the limiter is made, and in which form it stands in `app_data`: see [`Form`].
//! - `SETUP_REQUIRE`: with this variable, a limiter in `app_data` is required.
//! - `SETUP_STORE`: the store's URL; `memory://` without it.
//! - `SETUP_PROXIES`: the trusted proxies: `hops=NUMBER`, or a network; `forwarded=NETWORK` reads `Forwarded`, and
//!   `real-ip=NETWORK` reads `X-Real-IP`.
//! - `SETUP_SERVERS`, `SETUP_ADDRESSES`, `SETUP_WORKERS`: how many servers, of how many addresses and worker threads each.
//! - `SETUP_RUNTIME=tokio`: no Actix system, as under `#[tokio::main]`.
//!
//! It prints its address, and each log line as `LEVEL text`.

// A server that cannot start prints the reason and ends. The test that started it shows the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use actix_web::dev::Server;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpServer, Responder, rt};
use log::{LevelFilter, Log, Metadata, Record};
use ratelimit_runtime::{ForwardingHeader, RateLimiter, TrustedProxies, ratelimit};
use ratelimit_tests::FOREVER;

#[ratelimit(limit = 3, per = FOREVER, scope = "ip")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}

#[ratelimit(limit = 3, per = FOREVER, scope = "global")]
async fn everybody() -> impl Responder {
    "no matter who"
}

/// Where the limiter is made, and its form in `app_data`.
#[derive(Clone, Copy)]
enum Form {
    /// Made once, and given to the workers correctly.
    Plain,
    /// Left to the process.
    None,
    /// For the scope alone.
    InScopeAlone,
    /// Made by each worker for itself.
    PerWorker,
    /// Made once, by the first worker.
    ByFirstWorker,
    InData,
    InArc,
    InDataOfArc,
    InOption,
    InRc,
    /// One for the application, and another for a scope in another form.
    HiddenInScope,
    /// The same for the application and for a scope, in two forms.
    SameInScope,
    /// A plain one for the application, and a plain one for a scope.
    AnotherInScope,
}

fn main() -> std::io::Result<()> {
    log::set_logger(&Lines).expect("the only logger");
    log::set_max_level(LevelFilter::Info);
    if env::var("SETUP_RUNTIME").as_deref() == Ok("tokio") {
        rt::Runtime::new()?.block_on(run())
    } else {
        rt::System::new().block_on(run())
    }
}

async fn run() -> std::io::Result<()> {
    if env::var_os("SETUP_REQUIRE").is_some() {
        RateLimiter::require_in_app_data();
    }
    let shared = limiter();
    let servers: Vec<_> = (0..number("SETUP_SERVERS")).map(|_| server(form(), &shared)).collect::<Result<_, _>>()?;
    let running: Vec<_> = servers.into_iter().map(rt::spawn).collect();
    for server in running {
        server.await.expect("the server runs")?;
    }
    Ok(())
}

fn server(form: Form, shared: &RateLimiter) -> std::io::Result<Server> {
    static FIRST: OnceLock<RateLimiter> = OnceLock::new();

    let shared = shared.clone();
    let mut server = HttpServer::new(move || {
        let app = App::new().configure(routes);
        let scope = web::scope("/scope").configure(routes);
        match form {
            Form::Plain => app.app_data(shared.clone()),
            Form::None => app,
            Form::InScopeAlone => app.service(scope.app_data(shared.clone())),
            Form::PerWorker => app.app_data(limiter()),
            Form::ByFirstWorker => app.app_data(FIRST.get_or_init(limiter).clone()),
            Form::InData => app.app_data(Data::new(shared.clone())),
            Form::InArc => app.app_data(Arc::new(shared.clone())),
            Form::InDataOfArc => app.app_data(Data::new(Arc::new(shared.clone()))),
            Form::InOption => app.app_data(Some(shared.clone())),
            Form::InRc => app.app_data(Rc::new(shared.clone())),
            Form::HiddenInScope => app.app_data(shared.clone()).service(scope.app_data(Data::new(limiter()))),
            Form::SameInScope => app.app_data(shared.clone()).service(scope.app_data(Data::new(shared.clone()))),
            Form::AnotherInScope => app.app_data(shared.clone()).service(scope.app_data(RateLimiter::in_memory())),
        }
    })
    .workers(number("SETUP_WORKERS"));
    for _ in 0..number("SETUP_ADDRESSES") {
        server = server.bind(("127.0.0.1", 0))?;
    }
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    Ok(server.run())
}

fn routes(config: &mut ServiceConfig) {
    config.route("/quote", web::get().to(quote)).route("/everybody", web::get().to(everybody));
}

fn form() -> Form {
    match env::var("SETUP_LIMITER").as_deref() {
        Err(_) => Form::Plain,
        Ok("none") => Form::None,
        Ok("in scope alone") => Form::InScopeAlone,
        Ok("per worker") => Form::PerWorker,
        Ok("by the first worker") => Form::ByFirstWorker,
        Ok("in Data") => Form::InData,
        Ok("in Arc") => Form::InArc,
        Ok("in Data of Arc") => Form::InDataOfArc,
        Ok("in Option") => Form::InOption,
        Ok("in Rc") => Form::InRc,
        Ok("hidden in scope") => Form::HiddenInScope,
        Ok("same in scope") => Form::SameInScope,
        Ok("another in scope") => Form::AnotherInScope,
        Ok(other) => panic!("SETUP_LIMITER: {other:?} is none of the forms"),
    }
}

fn limiter() -> RateLimiter {
    let mut builder = RateLimiter::builder();
    if let Some(proxies) = proxies() {
        builder = builder.trusted_proxies(proxies);
    }
    let store = env::var("SETUP_STORE").unwrap_or("memory://".to_owned());
    builder.store(&store).build().expect("SETUP_STORE is a store's URL")
}

fn proxies() -> Option<TrustedProxies> {
    let text = env::var("SETUP_PROXIES").ok()?;
    Some(match text.split_once('=') {
        Some(("hops", hops)) => TrustedProxies::hops(hops.parse().expect("a number")),
        Some(("forwarded", network)) => networks(network).header(ForwardingHeader::Forwarded),
        Some(("real-ip", network)) => networks(network).header(ForwardingHeader::XRealIp),
        _ => networks(&text),
    })
}

fn networks(network: &str) -> TrustedProxies {
    TrustedProxies::networks([network]).expect("a network")
}

/// 1 without the variable.
fn number(name: &str) -> usize {
    env::var(name).map_or(1, |text| text.parse().expect("a number"))
}

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ratelimit")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{} {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}
