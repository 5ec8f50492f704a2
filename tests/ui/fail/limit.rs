//! `limit` out of range, of the wrong kind, or missing.

use ratelimit_runtime::ratelimit;

#[ratelimit(limit = 0)]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit(limit = -1)]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit(limit = 4294967296)]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit(limit = 99999999999999999999999999999999999999999)]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit(limit = 300.5)]
async fn case_5() -> &'static str {
    ""
}

#[ratelimit(limit = "300")]
async fn case_6() -> &'static str {
    ""
}

#[ratelimit(limit = "300/5m")]
async fn case_7() -> &'static str {
    ""
}

#[ratelimit(limit = "many")]
async fn case_8() -> &'static str {
    ""
}

#[ratelimit(limit = 300kb)]
async fn case_10() -> &'static str {
    ""
}

#[ratelimit(limit = true)]
async fn case_11() -> &'static str {
    ""
}

#[ratelimit(limit)]
async fn case_13() -> &'static str {
    ""
}

#[ratelimit(limit =)]
async fn case_14() -> &'static str {
    ""
}

#[ratelimit()]
async fn case_15() -> &'static str {
    ""
}

#[ratelimit(per = 300)]
async fn case_16() -> &'static str {
    ""
}

#[ratelimit(scope = "ip")]
async fn case_17() -> &'static str {
    ""
}

fn main() {}
