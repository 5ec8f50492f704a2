//! A `count_if` function that has to be waited for, or says something else than whether a request counts.

use actix_web::HttpResponse;
use ratelimit_runtime::ratelimit;

async fn waits(response: &HttpResponse) -> bool {
    response.status().is_success()
}

async fn waits_without_a_reference(response: HttpResponse) -> bool {
    response.status().is_success()
}

fn says_how_often(_: &HttpResponse) -> Option<bool> {
    None
}

#[ratelimit("10/s", count_if = waits)]
async fn first() -> &'static str {
    ""
}

#[ratelimit("10/s", count_if = waits_without_a_reference)]
async fn second() -> &'static str {
    ""
}

#[ratelimit("10/s", count_if = says_how_often)]
async fn third() -> &'static str {
    ""
}

fn main() {}
