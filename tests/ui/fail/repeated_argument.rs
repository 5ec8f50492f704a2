//! An argument that is given twice.

use ratelimit_runtime::ratelimit;

#[ratelimit(limit = 300, limit = 300)]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit(limit = 300, scope = "ip", key = "a", scope = "user", key = "b", key = "c")]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit("300/5m", "10/s")]
async fn case_3() -> &'static str {
    ""
}

fn main() {}
