//! Errors in the application's own format: one function for each 429, and one for each 503.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder, get, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{OnStoreError, RateLimitHeaders, RateLimitState, RateLimiter, ratelimit};

/// A plain function: `Retry-After` and the rate limit headers are added to its response.
fn too_many(_: &HttpRequest, state: &RateLimitState) -> impl Responder {
    let seconds = state.retry_after().unwrap_or(1);
    HttpResponse::TooManyRequests()
        .content_type("application/json")
        .body(format!("{{\"error\":{{\"code\":\"too_many_requests\",\"retry_in_seconds\":{seconds}}}}}\n"))
}

/// Where to read what is the matter.
struct StatusPage(&'static str);

/// Written like a handler: it may wait, and takes extractors.
async fn not_now(page: web::Data<StatusPage>) -> impl Responder {
    HttpResponse::ServiceUnavailable()
        .content_type("application/json")
        .body(format!("{{\"error\":{{\"code\":\"unavailable\",\"see\":\"{}\"}}}}\n", page.0))
}

#[get("/quote")]
#[ratelimit("3/minute")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability.\n"
}

/// A rule's own answer goes before the limiter's.
#[get("/search")]
#[ratelimit("3/minute", over_limit = teaser)]
async fn search() -> impl Responder {
    "all results\n"
}

fn teaser(_: &HttpRequest, _: &RateLimitState) -> &'static str {
    "the first of many results\n"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    let limiter = RateLimiter::builder()
        .store(&url)
        .on_store_error(OnStoreError::Deny)
        .over_limit(too_many)
        .unavailable(not_now)
        .build()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .app_data(web::Data::new(StatusPage("https://status.example.com")))
            .wrap(RateLimitHeaders::default())
            .service(quote)
            .service(search)
    })
    .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/quote", "curl -i http://{}/search"]);
    server.run().await
}
