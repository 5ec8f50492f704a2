//! Limits by the caller's plan: an upgrade takes effect at once.

use std::{collections::HashMap, sync::RwLock};

use actix_web::{App, HttpRequest, HttpServer, Responder, get, put, web};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{ParseRateError, Rate, RateLimitHeaders, RateLimitState, RateLimiter, ratelimit};

/// The rates of the users who pay. A real application keeps them in its database.
#[derive(Default)]
struct Plans(RwLock<HashMap<String, Rate>>);

impl Plans {
    fn of(&self, user: &str) -> Option<Rate> {
        self.0.read().ok()?.get(user).copied()
    }
}

/// A real application would verify who this is.
fn user(request: &HttpRequest) -> Option<String> {
    Some(request.headers().get("X-User")?.to_str().ok()?.to_owned())
}

async fn plan(plans: web::Data<Plans>, request: HttpRequest) -> Option<Rate> {
    match user(&request).as_deref() {
        Some("root") => None,
        Some(user) => Some(plans.of(user).unwrap_or(Rate::per_minute(3))),
        None => Some(Rate::per_minute(1)),
    }
}

#[get("/search")]
#[ratelimit(rate = plan, scope = "user")]
async fn search(state: RateLimitState) -> impl Responder {
    if state.is_counted() {
        format!("{} of {} left\n", state.remaining(), state.limit())
    } else {
        "no limit\n".to_owned()
    }
}

/// Sells a plan: `600/minute`. A real application would ask for money.
#[put("/plans/{user}")]
async fn upgrade(
    user: web::Path<String>,
    rate: String,
    plans: web::Data<Plans>,
) -> Result<&'static str, ParseRateError> {
    let rate: Rate = rate.parse()?;
    if let Ok(mut plans) = plans.0.write() {
        plans.insert(user.into_inner(), rate);
    }
    Ok("welcome\n")
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    let limiter = RateLimiter::builder().user(user).store(&url).build()?;
    let plans = web::Data::new(Plans::default());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limiter.clone())
            .app_data(plans.clone())
            .wrap(RateLimitHeaders::default())
            .service(search)
            .service(upgrade)
    })
    .bind(address())?;
    announce(
        &server.addrs(),
        &[
            "curl -i -H 'X-User: alice' http://{}/search",
            "curl -i -X PUT -d 5/minute http://{}/plans/alice",
            "curl -i -H 'X-User: root' http://{}/search",
        ],
    );
    server.run().await
}
