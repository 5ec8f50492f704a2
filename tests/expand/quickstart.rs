//! The handler of the README, as its expansion is tested.

use actix_web::{Responder, get};
use ratelimit_runtime::ratelimit;

#[get("/quote")]
#[ratelimit(limit = 300, per = 300, scope = "ip")]
async fn quote() -> impl Responder {
    "Simplicity is prerequisite for reliability."
}
