//! Attempts to log in: only failures count, only those of the form that was sent, and an administrator can forgive them.

use std::{collections::HashMap, net::IpAddr};

use actix_web::{App, HttpResponse, HttpServer, Responder, delete, get, routes, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{Policy, RateLimitHeaders, RateLimiter, Subject, policy, ratelimit};

/// Three failed attempts a minute for each address. An administrator looks at the same policy.
static LOGIN: Policy = policy!("3/minute", key = "login", scope = "ip", methods = ["POST"], count_if = failed);

/// Whether an attempt counts: a login that succeeds is refunded.
fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[routes]
#[get("/login")]
#[post("/login")]
#[ratelimit(policy = LOGIN)]
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
    let state = limiter.peek(&LOGIN, &Subject::new().ip(*address)).await?;
    Ok(state
        .rules()
        .map(|rule| format!("{} of {} left until {}\n", rule.remaining(), rule.limit(), rule.reset_at()))
        .collect())
}

#[delete("/attempts/{address}")]
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
