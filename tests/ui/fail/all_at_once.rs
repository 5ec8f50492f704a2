//! Every independent error of an attribute and its handler is reported at once.

use ratelimit_runtime::ratelimit;

#[ratelimit(
    limit = 0,
    per = "5 fortnights",
    scope = ["nobody", "header:", 7],
    key = "",
    over_limit = 1,
    send_x_headers = 2,
    on_store_error = "",
    crate = 3,
    colour = "red",
    key = "search"
)]
async fn all_at_once(_request: &actix_web::HttpRequest) -> &'static str {
    ""
}

fn main() {}
