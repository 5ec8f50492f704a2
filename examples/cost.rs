//! Requests that cost more than others, requests that cost nothing, and a cost that is known afterwards.

use actix_web::{App, HttpRequest, HttpServer, Responder, get, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{RateLimitHeaders, RateLimitState, RateLimiter, ratelimit};

/// A plain function: a search costs as much as it has words.
fn words(request: &HttpRequest) -> usize {
    request.query_string().split('+').count()
}

/// Written like a handler, with extractors. A report of no pages costs nothing; one of more than the limit never passes.
async fn pages(pages: web::Path<u64>) -> u64 {
    pages.into_inner()
}

/// Whoever watches the service is not counted.
fn monitor(request: &HttpRequest) -> bool {
    request.headers().contains_key("x-monitor")
}

#[get("/search")]
#[ratelimit("10/minute", cost = words, exempt = monitor)]
async fn search() -> impl Responder {
    "found\n"
}

#[get("/report/{pages}")]
#[ratelimit("10/minute", cost = pages)]
async fn report(pages: web::Path<u64>) -> impl Responder {
    format!("a report of {pages} pages\n")
}

/// Both handlers count together: an export takes five times what a quote does.
#[get("/quote")]
#[ratelimit("10/minute", key = "quotes")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability.\n"
}

#[get("/export")]
#[ratelimit("10/minute", key = "quotes", cost = 5)]
async fn export() -> impl Responder {
    "all quotes\n"
}

/// Stands for a language model: its answer, and how many tokens it has used, which is known afterwards.
async fn complete(prompt: &str) -> (String, u64) {
    (prompt.to_uppercase(), prompt.len() as u64)
}

/// Ten tokens are charged in advance. The true number replaces them, even if it exceeds the limit.
#[get("/chat/{prompt}")]
#[ratelimit("30/minute", cost = 10)]
async fn chat(prompt: web::Path<String>, mut state: RateLimitState) -> impl Responder {
    let (answer, tokens) = complete(&prompt).await;
    state.settle(tokens);
    format!("{answer} ({tokens} tokens, {} left)\n", state.remaining())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let limiter = RateLimiter::in_memory();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .wrap(RateLimitHeaders::default())
            .service(search)
            .service(report)
            .service(quote)
            .service(export)
            .service(chat)
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i 'http://{}/search?simple+and+elegant'",
            "curl -i http://{}/report/7",
            "curl -i http://{}/quote",
            "curl -i http://{}/export",
            "curl -i http://{}/chat/hello",
        ],
    );
    server.run().await
}
