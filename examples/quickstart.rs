//! One limited handler. Counts in memory, or in the store of the environment variable `RATELIMIT_URL`.

use actix_web::{App, HttpServer, Responder, get};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};

#[get("/quote")]
#[ratelimit(limit = 300, per = 300, scope = "ip")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    let limiter = RateLimiter::open(&url)?;
    // Creates the table of an SQL database. Other stores need nothing.
    limiter.migrate().await?;
    let server =
        HttpServer::new(move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote))
            .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/quote"]);
    server.run().await
}
