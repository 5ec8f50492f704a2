//! What is no list of arguments.

use ratelimit_runtime::ratelimit;

#[ratelimit(limit: 300)]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit(limit::LIMIT)]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit(limit = 300 per = 300)]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit(limit = 300,, per = 300)]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit(limit == 300)]
async fn case_5() -> &'static str {
    ""
}

#[ratelimit(= 300)]
async fn case_6() -> &'static str {
    ""
}

#[ratelimit("300/5m" scope = "ip")]
async fn case_7() -> &'static str {
    ""
}

#[ratelimit(#)]
async fn case_8() -> &'static str {
    ""
}

#[ratelimit(limit = 300, scope = ,)]
async fn case_9() -> &'static str {
    ""
}

fn main() {}
