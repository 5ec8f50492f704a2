//! The handler of every measurement: alone, and under the attribute.

use actix_web::{Route, web};
use ratelimit_runtime::ratelimit;

use crate::load::{ADMIT_ALL, ADMIT_ONE, Keys, Load, Verdict, WINDOW_SECONDS};

const ANSWER: &str = "Simplicity is prerequisite for reliability.";

/// The handler without a limit.
pub async fn bare() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip")]
async fn admitted_by_address() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ONE, per = WINDOW_SECONDS, scope = "ip")]
async fn refused_by_address() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "header:X-Api-Key")]
async fn admitted_by_header() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ONE, per = WINDOW_SECONDS, scope = "header:X-Api-Key")]
async fn refused_by_header() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "ip", lease = 100)]
async fn leased_by_address() -> &'static str {
    ANSWER
}

#[ratelimit(limit = ADMIT_ALL, per = WINDOW_SECONDS, scope = "header:X-Api-Key", lease = 100)]
async fn leased_by_header() -> &'static str {
    ANSWER
}

/// The handler under the attribute with a lease: its tokens are taken from Redis a hundred at once. All are admitted, since
/// a lease is no larger than its limit.
#[must_use]
pub fn leased(load: Load) -> Route {
    match load.keys {
        Keys::One => web::get().to(leased_by_address),
        Keys::Many => web::get().to(leased_by_header),
    }
}

/// The handler under the attribute that `load` is about.
#[must_use]
pub fn limited(load: Load) -> Route {
    match (load.verdict, load.keys) {
        (Verdict::Admitted, Keys::One) => web::get().to(admitted_by_address),
        (Verdict::Refused, Keys::One) => web::get().to(refused_by_address),
        (Verdict::Admitted, Keys::Many) => web::get().to(admitted_by_header),
        (Verdict::Refused, Keys::Many) => web::get().to(refused_by_header),
    }
}
