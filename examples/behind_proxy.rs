//! The client's address, where the server is called by a proxy.
//!
//! Only a proxy on this machine is trusted to say it. Called directly from elsewhere, the server would count the
//! caller, whatever its headers say.

use actix_web::{App, HttpServer, Responder, get};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, TrustedProxies, ratelimit};

#[get("/quote")]
#[ratelimit("3/minute", scope = "ip")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability.\n"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let proxies = TrustedProxies::networks(["127.0.0.0/8", "::1"])?;
    let limiter = RateLimiter::builder().trusted_proxies(proxies).build()?;
    let server =
        HttpServer::new(move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote))
            .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i -H 'X-Forwarded-For: 192.0.2.60' http://{}/quote",
            "curl -i -H 'X-Forwarded-For: 203.0.113.9, 192.0.2.60' http://{}/quote  # the same client, with a lie in front",
        ],
    );
    server.run().await
}
