//! A handler for each argument whose output is not seen in the README's, as their expansion is tested.

use actix_web::{Responder, get};
use ratelimit_runtime::ratelimit;

const LOT: u32 = 100;

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
