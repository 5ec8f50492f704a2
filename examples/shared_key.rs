//! One limit for several handlers, beside limits of their own.

use actix_web::{App, HttpServer, Responder, get, post};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};

/// Reading and writing together: ten a minute. Both handlers count in the counter named `notes`.
#[get("/notes")]
#[ratelimit("10/minute", key = "notes")]
async fn list() -> impl Responder {
    "milk, eggs\n"
}

/// Writing alone: three a minute. A request has to fit both limits, and one that is refused counts in neither.
#[post("/notes")]
#[ratelimit("10/minute", key = "notes")]
#[ratelimit("3/minute")]
async fn add() -> impl Responder {
    "noted\n"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let limiter = RateLimiter::in_memory();
    let server = HttpServer::new(move || {
        App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default().ietf()).service(list).service(add)
    })
    .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/notes", "curl -i -X POST http://{}/notes"]);
    server.run().await
}
