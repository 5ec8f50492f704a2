//! Several attributes of one handler, also with a route between them, and written by path.

#![deny(warnings)]

use actix_web::{App, get, web};
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

fn main() {
    let _app = App::new().service(around).route("/3", web::get().to(three)).route("/c", web::get().to(conditional));
}
