//! An argument that does not exist: the known ones are listed, and the nearest is suggested.

use ratelimit_runtime::ratelimit;

#[ratelimit(limt = 300)]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit(limit = 300, period = 60)]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit(limit = 300, scope_func = tenant, send_headers = true)]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit(limit = 300, tokens = 5)]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit(limit = 300, r#type = 5)]
async fn case_5() -> &'static str {
    ""
}

fn main() {}
