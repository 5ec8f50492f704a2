//! One limit, counted in different ways.

use actix_web::{App, HttpServer, Responder, get};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimitState, RateLimiter, ratelimit};

/// Ten in each minute of the clock. At the end of one and the beginning of the next, twice as many may pass at once.
#[get("/fixed")]
#[ratelimit("10/minute")]
async fn fixed() -> impl Responder {
    "in this minute\n"
}

/// Whoever has used up a minute is admitted bit by bit in the next one, as the last one fades.
#[get("/sliding")]
#[ratelimit("10/minute", algorithm = "sliding-window")]
async fn sliding() -> impl Responder {
    "in the last 60 seconds, more or less\n"
}

/// Not everybody's minute begins at the same moment.
#[get("/staggered")]
#[ratelimit("10/minute", stagger = true)]
async fn staggered() -> impl Responder {
    "in your own minute\n"
}

/// Three at once, and one each second.
#[get("/burst")]
#[ratelimit("60/minute", algorithm = "gcra", burst = 3)]
async fn burst() -> impl Responder {
    "evenly\n"
}

/// Both at once: what one of them refuses, the other does not count.
#[get("/both")]
#[ratelimit("1/second", algorithm = "gcra", burst = 3)]
#[ratelimit("10/minute", algorithm = "sliding-window")]
async fn both(state: RateLimitState) -> impl Responder {
    state.rules().map(|rule| format!("{}: {} left\n", rule.name(), rule.remaining())).collect::<String>()
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let limiter = RateLimiter::in_memory();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .wrap(RateLimitHeaders::default().ietf())
            .service(fixed)
            .service(sliding)
            .service(staggered)
            .service(burst)
            .service(both)
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &["fixed", "sliding", "staggered", "burst", "both"]
            .map(|path| format!("curl -i http://{{}}/{path}"))
            .each_ref()
            .map(String::as_str),
    );
    server.run().await
}
