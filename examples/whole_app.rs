//! A limit for everything but the health check, and a tighter one for a handler within.

use actix_web::{App, HttpServer, Responder, get, middleware::Logger, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{Policy, RateLimit, RateLimitState, RateLimiter, policy, ratelimit};

static API: Policy = policy!("10/minute", key = "api", scope = "ip");

#[get("/health")]
async fn health() -> impl Responder {
    "fine\n"
}

#[get("/quote")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability.\n"
}

#[get("/report")]
#[ratelimit("3/minute")]
async fn report(state: RateLimitState) -> impl Responder {
    let rules = state.rules().map(|rule| format!("{}: {} of {} left\n", rule.name(), rule.remaining(), rule.limit()));
    rules.collect::<String>()
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    let limiter = RateLimiter::open(&url)?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .wrap(RateLimit::new(&API).except(["/health"]))
            .wrap(Logger::default())
            .service(health)
            .service(web::scope("/v1").service(quote).service(report))
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i http://{}/v1/quote",
            "curl -i http://{}/v1/report",
            "curl -i http://{}/nowhere",
            "curl -i http://{}/health",
        ],
    );
    server.run().await
}
