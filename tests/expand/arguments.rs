//! A handler for each argument whose output is not seen in the README's, as their expansion is tested.

use actix_web::{HttpRequest, HttpResponse, Responder, get};
use ratelimit_runtime::{Policy, Rate, policy, ratelimit};

const LOT: u32 = 100;

#[get("/sliding")]
#[ratelimit("300/5m", algorithm = "sliding-window", stagger = true)]
async fn sliding() -> impl Responder {
    "the last two windows"
}

#[get("/bucket")]
#[ratelimit("300/5m", algorithm = "gcra", burst = 20, cost = 5)]
#[ratelimit("1000/hour", algorithm = "gcra", cost = weight)]
async fn bucket() -> impl Responder {
    "a token at a time"
}

#[get("/login")]
#[ratelimit("5/minute", methods = ["POST", "PUT"], exempt = office, count_if = failed)]
async fn login() -> impl Responder {
    "welcome"
}

fn weight(request: &HttpRequest) -> usize {
    request.path().len()
}

async fn office(_: HttpRequest) -> bool {
    true
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[get("/leased")]
#[ratelimit("100000/minute", lease = 100)]
async fn leased() -> impl Responder {
    "spent locally"
}

#[get("/leased-const")]
#[ratelimit("100000/minute", lease = LOT)]
async fn leased_const() -> impl Responder {
    "spent locally"
}

#[get("/body")]
#[ratelimit("5/minute", scope = username, body = "16 KiB")]
async fn by_name(name: String) -> impl Responder {
    name
}

async fn username(name: String) -> String {
    name
}

#[get("/plan")]
#[ratelimit(rate = plan, scope = "user", algorithm = "gcra", cost = 2)]
async fn planned() -> impl Responder {
    "as often as your plan says"
}

#[get("/export")]
#[ratelimit("100/minute", concurrency = 2, scope = "user", hold = "30s")]
async fn export() -> impl Responder {
    "two at a time"
}

fn plan(_: &HttpRequest) -> Option<Rate> {
    Some(Rate::per_minute(600).burst(20))
}

static LOGIN: Policy = policy!("5/minute", key = "login", scope = "ip");

static API: Policy = policy!(("10/second", scope = "ip"), ("1000/day", scope = "user", cost = 2), key = "api");

#[get("/shared")]
#[ratelimit(policy = LOGIN)]
async fn shared() -> impl Responder {
    "as often as the others together"
}

#[get("/combined")]
#[ratelimit(policy = LOGIN)]
#[ratelimit("100/hour")]
#[ratelimit(policy = API)]
async fn combined() -> impl Responder {
    "one decision"
}
