//! Limits for whoever is meant: an API key, a user, a tenant that an extractor finds.

use std::future::{Ready, ready};

use actix_web::{App, FromRequest, HttpRequest, HttpServer, Responder, dev::Payload, error::ErrorUnauthorized, get};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};

/// What a token says about its bearer. A real application would verify it; here it is `tenant:user`.
struct Claims {
    tenant: String,
    user: String,
}

impl FromRequest for Claims {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).and_then(|token| token.split_once(':'));
        let claims = token.map(|(tenant, user)| Self { tenant: tenant.to_owned(), user: user.to_owned() });
        ready(claims.ok_or_else(|| ErrorUnauthorized("a bearer token, please")))
    }
}

/// A scope written like a handler: where `Claims` cannot be extracted, its own error is the answer.
async fn tenant(claims: Claims) -> String {
    claims.tenant
}

/// A plain scope: `None` exempts the request.
fn not_the_monitor(request: &HttpRequest) -> Option<&'static str> {
    (!request.headers().contains_key("x-monitor")).then_some("everybody")
}

#[get("/search")]
#[ratelimit("5/minute", scope = "header:X-Api-Key")]
async fn search() -> impl Responder {
    "counted for each API key; for the address, where there is none"
}

#[get("/inbox")]
#[ratelimit("5/minute", scope = "user")]
async fn inbox() -> impl Responder {
    "counted for each user; for the address, where nobody is signed in"
}

#[get("/reports")]
#[ratelimit("10/minute", scope = tenant)]
#[ratelimit("3/minute", scope = [tenant, "user"])]
async fn reports(claims: Claims) -> impl Responder {
    format!("one of ten a minute for {}, one of three for {}", claims.tenant, claims.user)
}

#[get("/status")]
#[ratelimit("2/minute", scope = not_the_monitor)]
async fn status() -> impl Responder {
    "counted for everybody together, but not for the monitor"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let limiter =
        RateLimiter::builder().user(|claims: Option<Claims>| async move { claims.map(|it| it.user) }).build()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .wrap(RateLimitHeaders::default())
            .service(search)
            .service(inbox)
            .service(reports)
            .service(status)
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i -H 'X-Api-Key: 1234' http://{}/search",
            "curl -i -H 'Authorization: Bearer acme:alice' http://{}/inbox",
            "curl -i -H 'Authorization: Bearer acme:alice' http://{}/reports",
            "curl -i -H 'X-Monitor: 1' http://{}/status",
        ],
    );
    server.run().await
}
