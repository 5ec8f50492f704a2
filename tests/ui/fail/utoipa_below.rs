//! `utoipa::path` reads the handler's arguments, so it goes on top.

use actix_web::get;
use ratelimit_runtime::ratelimit;

#[get("/")]
#[ratelimit("10/s")]
#[utoipa::path(get, path = "/", responses((status = 200)))]
async fn handler() -> &'static str {
    ""
}

fn main() {}
