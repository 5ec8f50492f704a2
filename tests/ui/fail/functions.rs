//! Functions that are neither plain nor written as an Actix handler are reported where they are named.

use actix_web::{HttpRequest, HttpResponse};
use ratelimit_runtime::ratelimit;

fn no_arguments_no_name() {}

fn takes_text(_text: String, _more: Missing) -> String {
    String::new()
}

struct Missing;

#[allow(non_upper_case_globals)]
const lower_case: u32 = 5;

#[allow(non_snake_case)]
fn UPPER_CASE(_: &HttpRequest) -> u32 {
    5
}

fn signed(_: &HttpRequest) -> i32 {
    5
}

async fn by_request(_: HttpRequest) -> &'static str {
    ""
}

fn by_response(_: HttpResponse) -> bool {
    true
}

async fn by_reference(request: &HttpRequest) -> String {
    request.path().to_owned()
}

async fn by_numbers(numbers: Vec<u8>) -> String {
    format!("{numbers:?}")
}

#[ratelimit("10/s", scope = no_arguments_no_name)]
async fn scope() -> &'static str {
    ""
}

#[ratelimit("10/s", scope = "ip", key = takes_text)]
async fn key() -> &'static str {
    ""
}

#[ratelimit("10/s", over_limit = takes_text)]
async fn over_limit() -> &'static str {
    ""
}

#[ratelimit("10/s", cost = takes_text)]
async fn cost() -> &'static str {
    ""
}

#[ratelimit("10/s", cost = lower_case)]
async fn cost_in_lower_case() -> &'static str {
    ""
}

#[ratelimit("10/s", cost = UPPER_CASE)]
async fn cost_in_capitals() -> &'static str {
    ""
}

#[ratelimit("10/s", cost = signed)]
async fn cost_signed() -> &'static str {
    ""
}

#[ratelimit("10/s", exempt = signed)]
async fn exempt() -> &'static str {
    ""
}

#[ratelimit("10/s", exempt = by_request)]
async fn exempt_handler() -> &'static str {
    ""
}

#[ratelimit("10/s", count_if = by_response)]
async fn count_if() -> &'static str {
    ""
}

#[ratelimit("10/s", count_if = signed)]
async fn count_if_of_request() -> &'static str {
    ""
}

#[ratelimit("10/s", scope = by_reference)]
async fn scope_by_reference() -> &'static str {
    ""
}

#[ratelimit("10/s", scope = by_numbers)]
async fn scope_by_numbers() -> &'static str {
    ""
}

fn main() {}
