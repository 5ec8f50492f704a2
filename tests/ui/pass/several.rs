//! Several attributes of one handler, also with a route between them, and written by path.

#![deny(warnings)]

use actix_web::{App, HttpRequest, HttpResponse, get, web};
use ratelimit_runtime::ratelimit;

#[ratelimit("10/s")]
#[ratelimit(limit = 1000, per = "1h", scope = "user", over_limit = "allow")]
#[ratelimit_runtime::ratelimit("10/s", scope = "user")]
async fn three() -> &'static str {
    "text"
}

#[ratelimit("10/s")]
#[get("/")]
#[::ratelimit_runtime::ratelimit("1000/h")]
async fn around() -> &'static str {
    "text"
}

#[cfg_attr(all(), ratelimit("10/s"))]
#[ratelimit("1000/h", crate = ratelimit_runtime)]
#[cfg_attr(all(), ratelimit("5000/day", crate = ratelimit_runtime))]
#[cfg_attr(any(), ratelimit("not compiled"))]
async fn conditional() -> &'static str {
    "text"
}

// The same limit, and yet no two the same rule.
#[ratelimit("10/s")]
#[ratelimit("10/s", algorithm = "sliding-window")]
#[ratelimit("10/s", algorithm = "gcra")]
#[ratelimit("10/s", algorithm = "gcra", burst = 5)]
#[ratelimit("10/s", cost = 2)]
#[ratelimit("10/s", methods = "GET")]
#[ratelimit("10/s", methods = ["GET", "POST"])]
#[ratelimit("10/s", count_if = failed)]
#[ratelimit("10/s", exempt = office)]
#[ratelimit("10/m")]
#[ratelimit("11/s")]
#[ratelimit("10/s", key = "tenant")]
#[ratelimit("10/s", key = tenant)]
#[ratelimit("10/s", key = partner)]
#[ratelimit("10/s", cost = weight)]
#[ratelimit("10/s", cost = length)]
#[ratelimit("10/s", scope = ["ip", tenant])]
#[ratelimit("10/s", scope = ["ip", partner])]
async fn alike() -> &'static str {
    "text"
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

fn office(_: &HttpRequest) -> bool {
    true
}

fn tenant(_: &HttpRequest) -> &'static str {
    "tenant"
}

fn partner(_: &HttpRequest) -> &'static str {
    "partner"
}

fn weight(_: &HttpRequest) -> u32 {
    1
}

fn length(_: &HttpRequest) -> u32 {
    2
}

fn main() {
    let _app = App::new()
        .service(around)
        .route("/3", web::get().to(three))
        .route("/c", web::get().to(conditional))
        .route("/a", web::get().to(alike));
}
