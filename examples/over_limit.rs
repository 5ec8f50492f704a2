//! An answer of one's own in place of the 429, and a limit that is only watched.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder, get, http::StatusCode, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimitState, RateLimiter, ratelimit};

/// A plain function: what is wanted of the request, and what the check found.
fn come_back_later(request: &HttpRequest, state: &RateLimitState) -> impl Responder {
    let seconds = state.retry_after().unwrap_or(1);
    let text = format!("{} is busy: come back in {seconds} seconds.\n", request.path());
    (text, StatusCode::TOO_MANY_REQUESTS)
}

/// What to show instead of results.
struct Teaser(&'static str);

/// Written like a handler: it may wait, and takes extractors.
async fn teaser(teaser: web::Data<Teaser>, state: RateLimitState) -> HttpResponse {
    let seconds = state.retry_after().unwrap_or(1);
    HttpResponse::Ok().body(format!("{} (full results again in {seconds} s)\n", teaser.0))
}

#[get("/quote")]
#[ratelimit("3/minute", over_limit = come_back_later)]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability.\n"
}

#[get("/search")]
#[ratelimit("3/minute", over_limit = teaser)]
async fn search() -> impl Responder {
    "all results\n"
}

/// Shadow mode: counts and reports, and never refuses. To find out what a limit would do, before it does it.
#[get("/watched")]
#[ratelimit("3/minute", over_limit = "allow")]
async fn watched(state: RateLimitState) -> impl Responder {
    if state.is_over() { "this would have been refused\n" } else { "within the limit\n" }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let limiter = RateLimiter::in_memory();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .app_data(web::Data::new(Teaser("the first of many results")))
            .wrap(RateLimitHeaders::default())
            .service(quote)
            .service(search)
            .service(watched)
    })
    .bind(address())?;
    announce(&server.addrs(), &["curl -i http://{}/quote", "curl -i http://{}/search", "curl -i http://{}/watched"]);
    server.run().await
}
