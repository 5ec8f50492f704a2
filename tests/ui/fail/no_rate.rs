use actix_web::{HttpRequest, HttpResponse};
use ratelimit_runtime::ratelimit;

fn no_plan(_: &HttpRequest) -> u32 {
    60
}

fn of_a_response(_: &HttpResponse) -> Option<ratelimit_runtime::Rate> {
    None
}

#[ratelimit(rate = no_plan)]
async fn a_number() -> &'static str {
    ""
}

#[ratelimit(rate = of_a_response)]
async fn another_argument() -> &'static str {
    ""
}

fn main() {}
