//! A login that blocks whoever keeps guessing, for longer each time, and an administrator who blocks and forgives.

use std::{net::IpAddr, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, Responder, delete, get, post, put, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{Policy, RateLimitHeaders, RateLimiter, Subject, policy, ratelimit};

/// Three failed attempts a minute for each address; then a minute's rest, then ten, then an hour.
static LOGIN: Policy = policy!("3/minute", key = "login", count_if = failed, block = ["1m", "10m", "1h"]);

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[post("/login")]
#[ratelimit(policy = LOGIN)]
async fn login(password: String) -> impl Responder {
    match password.as_str() {
        "opensesame" => HttpResponse::Ok().body("welcome\n"),
        _ => HttpResponse::Forbidden().body("no\n"),
    }
}

/// A real application would ask who wants to know, to block, and to forgive.
#[get("/blocks/{address}")]
async fn look(address: web::Path<IpAddr>, limiter: web::Data<RateLimiter>) -> actix_web::Result<String> {
    let state = limiter.peek(&LOGIN, &Subject::new().ip(*address)).await?;
    let seconds = state.retry_after().filter(|_| state.is_blocked());
    Ok(seconds.map_or("not blocked\n".to_owned(), |seconds| format!("blocked for {seconds} s\n")))
}

#[put("/blocks/{address}")]
async fn block(address: web::Path<IpAddr>, limiter: web::Data<RateLimiter>) -> actix_web::Result<&'static str> {
    limiter.block(&LOGIN, &Subject::new().ip(*address), Duration::from_secs(24 * 60 * 60)).await?;
    Ok("blocked for a day\n")
}

#[delete("/blocks/{address}")]
async fn forgive(address: web::Path<IpAddr>, limiter: web::Data<RateLimiter>) -> actix_web::Result<&'static str> {
    limiter.reset(&LOGIN, &Subject::new().ip(*address)).await?;
    Ok("forgiven\n")
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    // In `Data`, handlers have it, too.
    let limiter = web::Data::new(RateLimiter::open(&url)?);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .wrap(RateLimitHeaders::default())
            .service(login)
            .service(look)
            .service(block)
            .service(forgive)
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i -d guess http://{}/login",
            "curl -i -d opensesame http://{}/login",
            "curl -i http://{}/blocks/127.0.0.1",
            "curl -i -X PUT http://{}/blocks/127.0.0.1",
            "curl -i -X DELETE http://{}/blocks/127.0.0.1",
        ],
    );
    server.run().await
}
