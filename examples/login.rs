//! Attempts to log in: only failures count, only those of the form that was sent, and an administrator can forgive them.

use std::{collections::HashMap, net::IpAddr};

use actix_web::{App, HttpResponse, HttpServer, Responder, delete, error::ErrorServiceUnavailable, get, routes, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{LimitTarget, RateLimitHeaders, RateLimiter, ratelimit};

/// Of the response: one that says `false` is given back.
fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[routes]
#[get("/login")]
#[post("/login")]
#[ratelimit("3/minute", key = "login", methods = ["POST"], count_if = failed)]
async fn login(form: Option<web::Form<HashMap<String, String>>>) -> impl Responder {
    match form.as_ref().map(|form| form.get("password").map(String::as_str)) {
        None => HttpResponse::Ok().body("the form\n"),
        Some(Some("opensesame")) => HttpResponse::Ok().body("welcome\n"),
        Some(_) => HttpResponse::Forbidden().body("no\n"),
    }
}

/// A real application would ask who wants to know, and to forgive.
#[get("/attempts/{address}")]
async fn attempts(address: web::Path<IpAddr>, limiter: web::Data<RateLimiter>) -> actix_web::Result<String> {
    let peek = limiter.peek(&attempts_of(*address)).await.map_err(ErrorServiceUnavailable)?;
    Ok(format!("{} of {} left until {}\n", peek.remaining(), peek.limit(), peek.reset_at()))
}

#[delete("/attempts/{address}")]
async fn forgive(address: web::Path<IpAddr>, limiter: web::Data<RateLimiter>) -> actix_web::Result<&'static str> {
    limiter.reset(&attempts_of(*address)).await.map_err(ErrorServiceUnavailable)?;
    Ok("forgiven\n")
}

/// As the attribute of `login` counts them.
fn attempts_of(address: IpAddr) -> LimitTarget {
    LimitTarget::new("login", 3, 60).ip(address)
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
            .service(attempts)
            .service(forgive)
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i -d password=guess http://{}/login",
            "curl -i -d password=opensesame http://{}/login",
            "curl -i http://{}/attempts/127.0.0.1",
            "curl -i -X DELETE http://{}/attempts/127.0.0.1",
        ],
    );
    server.run().await
}
