//! A login that is limited by user name and by address: whoever guesses one password from many addresses is stopped, and whoever tries many
//! names from one address.

use actix_web::{App, HttpResponse, HttpServer, Responder, post, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};
use serde::Deserialize;

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// Names the counter.
async fn username(body: web::Json<Login>) -> String {
    body.into_inner().username.to_lowercase()
}

/// Whether an attempt counts: a login that succeeds is refunded.
fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[post("/login")]
#[ratelimit("3/minute", scope = username, body = "16 KiB", count_if = failed)]
#[ratelimit("10/minute", scope = "ip", count_if = failed)]
async fn login(body: web::Json<Login>) -> impl Responder {
    match body.password.as_str() {
        "opensesame" => HttpResponse::Ok().body("welcome\n"),
        _ => HttpResponse::Forbidden().body("no\n"),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    let limiter = RateLimiter::open(&url)?;
    let server =
        HttpServer::new(move || App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(login))
            .bind(address())?;
    let curl = "curl -i -H 'Content-Type: application/json' -d '{\"username\": \"alice\", \"password\": \"guess\"}' http://{}/login";
    announce(&server.addrs(), &[curl]);
    server.run().await
}
