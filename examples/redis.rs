//! A limit that any number of processes share, and what happens to it when Redis is down.
//!
//! Start a Redis (`redis-server --port 6379`), then this twice, with different values of `PORT`. Stop Redis, and
//! see that the quote is still served while the login is not.

use std::time::Duration;

use actix_web::{App, HttpServer, Responder, get, post};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};

/// While Redis is down, each process counts by itself: the default.
#[get("/quote")]
#[ratelimit("10/minute")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}

/// Without Redis nobody may guess passwords.
#[post("/login")]
#[ratelimit("5/minute", on_store_error = "deny")]
async fn login() -> impl Responder {
    "welcome"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let limiter = RateLimiter::builder().prefix("example").deadline(Duration::from_millis(50)).store(&url).build()?;
    let server = HttpServer::new(move || {
        App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote).service(login)
    })
    .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/quote", "curl -i -X POST http://{}/login"]);
    server.run().await
}
