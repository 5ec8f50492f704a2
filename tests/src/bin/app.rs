//! A limited server for tests that need a separate process. Environment variables configure it:
//!
//! - `APP_STORE`: the store's URL; without it the application has no limiter of its own.
//! - `APP_ON_STORE_ERROR`: `local`, `allow` or `deny`.
//! - `APP_DEADLINE_MS`: the deadline of a check.
//! - `APP_WORKERS`: the number of worker threads; 2 without it.
//! - `APP_BLOCKING_THREADS`: the number of threads that a worker has for calls that block.
//! - `APP_CA_FILE`: the file of the authorities that the store's certificate is signed by.
//! - `APP_USER` and `APP_PASSWORD_FILE`: the store's user, and the file that holds the password when it is asked for.
//!
//! It prints its address, and each log line as `LEVEL text`.

// A server that cannot start prints the reason and ends. The test that started it shows the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::time::Duration;

use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{App, HttpServer, Responder, get, rt};
use log::{LevelFilter, Log, Metadata, Record};
#[cfg(feature = "redis")]
use ratelimit_runtime::Credentials;
use ratelimit_runtime::{
    OnStoreError, Policy, Rate, RateLimit, RateLimitHeaders, RateLimitState, RateLimiter, policy, ratelimit,
};
use ratelimit_tests::FOREVER;

/// Three requests an address.
#[get("/quote")]
#[ratelimit(limit = 3, per = FOREVER, scope = "ip")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}

/// One counter that many processes race for.
#[get("/burst")]
#[ratelimit(limit = 1000, per = FOREVER, scope = "global")]
async fn burst() -> impl Responder {
    "one of the thousand"
}

/// One counter with many windows.
#[get("/edge")]
#[ratelimit(limit = 150, per = 1, scope = "global")]
async fn edge() -> impl Responder {
    "one of this second's"
}

/// One counter with long windows.
#[get("/hourly")]
#[ratelimit(limit = 10, per = 3600, scope = "global")]
async fn hourly() -> impl Responder {
    "one of this hour's"
}

/// A new counter for each value of the header.
#[get("/each")]
#[ratelimit(limit = 10, per = FOREVER, scope = "header:x-id")]
async fn each() -> impl Responder {
    "one of many counters"
}

/// Never over the limit.
#[get("/work")]
#[ratelimit(limit = 1_000_000_000, per = FOREVER, scope = "global")]
async fn work() -> impl Responder {
    "work"
}

/// Like `burst`, with leases.
#[get("/leased")]
#[ratelimit(limit = 1000, per = FOREVER, scope = "global", lease = 20)]
async fn leased() -> impl Responder {
    "one of the thousand"
}

/// Like `edge`, with leases.
#[get("/leased-edge")]
#[ratelimit(limit = 150, per = 1, scope = "global", lease = 10)]
async fn leased_edge() -> impl Responder {
    "one of this second's"
}

/// Never over the limit, with two counters that belong together.
#[get("/pair")]
#[ratelimit(limit = 1_000_000_000, per = FOREVER, scope = "global")]
#[ratelimit(limit = 1_000_000_000, per = 2_000_000_000, scope = "global")]
async fn pair() -> impl Responder {
    "counted twice"
}

/// Never over the limit, with two counters that a cluster has in different slots.
#[get("/both")]
#[ratelimit(limit = 1_000_000_000, per = FOREVER, scope = "global")]
#[ratelimit(limit = 1_000_000_000, per = FOREVER, scope = "ip")]
async fn both() -> impl Responder {
    "counted here and there"
}

/// Two independent counters.
#[get("/cross")]
#[ratelimit(limit = 50, per = FOREVER, scope = "header:x-a")]
#[ratelimit(limit = 20, per = FOREVER, scope = "header:x-b")]
async fn cross() -> impl Responder {
    "where two ways meet"
}

/// One at a time, for so many milliseconds.
#[get("/place/{milliseconds}")]
#[ratelimit(concurrency = 1, scope = "global", hold = "2s")]
async fn place(milliseconds: Path<u64>) -> impl Responder {
    rt::time::sleep(Duration::from_millis(*milliseconds)).await;
    "done"
}

/// Not limited at all.
#[get("/free")]
async fn free() -> impl Responder {
    "free"
}

/// Needs a thread for blocking calls.
#[get("/blocking")]
async fn blocking() -> actix_web::Result<impl Responder> {
    Ok(web::block(|| "blocked").await?)
}

/// Not limited. Blocks its worker for this many milliseconds, as a password hash does.
#[get("/busy/{milliseconds}")]
async fn busy(milliseconds: Path<u64>) -> impl Responder {
    std::thread::sleep(Duration::from_millis(*milliseconds));
    "done"
}

/// Counts users without a user function.
#[get("/user")]
#[ratelimit(limit = 3, per = FOREVER, scope = "user")]
async fn user() -> impl Responder {
    "a user"
}

/// Counts by a function that extracts the body, which it does not get.
#[get("/by-body")]
#[ratelimit(limit = 3, per = FOREVER, scope = first_of_body)]
async fn by_body() -> impl Responder {
    "never"
}

/// A policy that no middleware can check.
static A_BODY: Policy = policy!("3/hour", scope = first_of_body, body = "1 KiB", key = "a body");

/// Counts by a rate that no rule can have.
#[get("/by-rate")]
#[ratelimit(rate = no_rate)]
async fn by_rate() -> impl Responder {
    "never"
}

fn no_rate(_: &actix_web::HttpRequest) -> Rate {
    Rate::per_minute(0)
}

async fn first_of_body(body: String) -> Option<String> {
    body.get(..1).map(str::to_owned)
}

/// Extracts the state without having a limit.
#[get("/state")]
async fn state(_: RateLimitState) -> impl Responder {
    "never"
}

/// Pairs of handlers that would share a counter by accident, or would not share one that they should.
#[allow(unused_qualifications, reason = "a function is named by several paths on purpose")]
mod pairs {
    use actix_web::HttpRequest;
    use actix_web::web::{ServiceConfig, get};
    use ratelimit_runtime::ratelimit;
    use ratelimit_tests::FOREVER;

    struct Users;
    struct Books;

    impl Users {
        #[ratelimit(limit = 3, per = FOREVER)]
        async fn list() -> &'static str {
            "users"
        }

        #[ratelimit(limit = 3, per = FOREVER, key = "search-users")]
        async fn search() -> &'static str {
            "users"
        }
    }

    impl Books {
        #[ratelimit(limit = 3, per = FOREVER)]
        async fn list() -> &'static str {
            "books"
        }

        #[ratelimit(limit = 3, per = FOREVER)]
        async fn search() -> &'static str {
            "books"
        }
    }

    mod a {
        pub(super) fn tenant(_: &actix_web::HttpRequest) -> &'static str {
            "a"
        }
    }

    mod b {
        pub(super) fn tenant(_: &actix_web::HttpRequest) -> &'static str {
            "b"
        }
    }

    use a::tenant;
    use a::tenant as customer;

    fn key(_: &HttpRequest) -> &'static str {
        "key"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = tenant, key = "pairs")]
    async fn by_name() -> &'static str {
        "a"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = self::a::tenant, key = "pairs")]
    async fn by_path() -> &'static str {
        "a"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = b::tenant, key = "pairs")]
    async fn of_another() -> &'static str {
        "b"
    }

    #[ratelimit(limit = 3, per = 3600, scope = b::tenant, key = "pairs")]
    async fn of_another_with_another_window() -> &'static str {
        "b"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = ["ip", b::tenant], key = "pairs")]
    async fn of_another_by_address() -> &'static str {
        "b"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = customer, key = "pairs")]
    async fn renamed() -> &'static str {
        "a"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = a::tenant, key = key)]
    async fn by_given_key() -> &'static str {
        "a"
    }

    #[ratelimit(limit = 3, per = FOREVER, scope = b::tenant, key = self::key)]
    async fn of_another_by_given_key() -> &'static str {
        "b"
    }

    pub(crate) fn routes(config: &mut ServiceConfig) {
        config.route("/users", get().to(Users::list)).route("/users/search", get().to(Users::search));
        config.route("/books", get().to(Books::list)).route("/books/search", get().to(Books::search));
        config.route("/tenant", get().to(by_name)).route("/tenant/path", get().to(by_path));
        config.route("/tenant/another", get().to(of_another)).route("/tenant/renamed", get().to(renamed));
        config.route("/tenant/hourly", get().to(of_another_with_another_window));
        config.route("/tenant/address", get().to(of_another_by_address));
        config.route("/given", get().to(by_given_key)).route("/given/another", get().to(of_another_by_given_key));
    }
}

fn routes(config: &mut ServiceConfig) {
    pairs::routes(config);
    config.service(by_body).service(by_rate).service(state);
    let resource = web::resource("/body-in-middleware").wrap(RateLimit::new(&A_BODY));
    config.service(resource.route(web::get().to(|| async { "never" })));
    config.service(quote).service(burst).service(edge).service(each).service(work).service(user);
    config
        .service(blocking)
        .service(free)
        .service(place)
        .service(busy)
        .service(hourly)
        .service(leased)
        .service(leased_edge)
        .service(pair)
        .service(both)
        .service(cross);
}

fn main() -> std::io::Result<()> {
    log::set_logger(&Lines).expect("the only logger");
    log::set_max_level(LevelFilter::Info);
    rt::System::new().block_on(run(limiter()))
}

async fn run(limiter: Option<RateLimiter>) -> std::io::Result<()> {
    let server = HttpServer::new(move || {
        let app = App::new().wrap(RateLimitHeaders::default()).configure(routes);
        match &limiter {
            Some(limiter) => app.app_data(limiter.clone()),
            None => app,
        }
    })
    .workers(number("APP_WORKERS").unwrap_or(2))
    .worker_max_blocking_threads(number("APP_BLOCKING_THREADS").unwrap_or(64))
    .bind(("127.0.0.1", 0))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await
}

fn limiter() -> Option<RateLimiter> {
    let url = env::var("APP_STORE").ok()?;
    let mut builder = RateLimiter::builder().on_store_error(on_store_error());
    if let Some(deadline) = number("APP_DEADLINE_MS") {
        builder = builder.deadline(Duration::from_millis(deadline as u64));
    }
    #[cfg(feature = "redis")]
    if let Some(file) = env::var_os("APP_PASSWORD_FILE") {
        let name = env::var("APP_USER").expect("APP_USER, besides APP_PASSWORD_FILE");
        let credentials = move || std::fs::read_to_string(&file).map(|password| Credentials::new(&name, password));
        builder = builder.credentials(move || std::future::ready(credentials()));
    }
    #[cfg(feature = "rustls")]
    if let Some(file) = env::var_os("APP_CA_FILE") {
        builder = builder.tls_ca_file(file);
    }
    Some(builder.store(&url).build().expect("APP_STORE is a store's URL"))
}

fn on_store_error() -> OnStoreError {
    match env::var("APP_ON_STORE_ERROR").as_deref() {
        Err(_) | Ok("local") => OnStoreError::Local,
        Ok("allow") => OnStoreError::Allow,
        Ok("deny") => OnStoreError::Deny,
        Ok(other) => panic!("APP_ON_STORE_ERROR: {other:?} is none of local, allow, deny"),
    }
}

fn number(name: &str) -> Option<usize> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
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
