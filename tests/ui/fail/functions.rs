//! Functions that are neither plain nor written as an Actix handler are reported where they are named.

use ratelimit_runtime::ratelimit;

fn no_arguments_no_name() {}

fn takes_text(_text: String, _more: Missing) -> String {
    String::new()
}

struct Missing;

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

fn main() {}
