//! Every independent error of an attribute and its handler is reported at once.

use ratelimit_runtime::ratelimit;

#[ratelimit(
    limit = 0,
    per = "5 fortnights",
    algorithm = "bucket",
    burst = 0,
    stagger = 1,
    scope = ["nobody", "header:", 7],
    key = "",
    cost = 0,
    count_if = 4,
    exempt = 5,
    methods = ["post", 6],
    over_limit = 1,
    send_x_headers = 2,
    on_store_error = "",
    lease = 0,
    crate = 3,
    colour = "red",
    key = "search"
)]
async fn all_at_once(_request: &actix_web::HttpRequest) -> &'static str {
    ""
}

#[ratelimit(
    "10/second; 1000/hour",
    burst = 20,
    stagger = true,
    lease = 5,
    cost = asked,
    count_if = failed,
    over_limit = "allow"
)]
async fn combinations() -> &'static str {
    ""
}

fn main() {}
