//! `per` out of range, or of the wrong kind.

use ratelimit_runtime::ratelimit;

#[ratelimit(limit = 300, per = 0)]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = -300)]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = 2147483648)]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = 0u8)]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = 1.5)]
async fn case_5() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = 90s)]
async fn case_6() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "90")]
async fn case_7() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "-5m")]
async fn case_8() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "1h 30")]
async fn case_9() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "1 fortnight")]
async fn case_10() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "0s")]
async fn case_11() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "69 years")]
async fn case_12() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = "")]
async fn case_13() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = 'm')]
async fn case_15() -> &'static str {
    ""
}

fn main() {}
