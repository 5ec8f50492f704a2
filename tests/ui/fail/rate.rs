//! A rate string that makes no sense, or stands next to what it already says.

use ratelimit_runtime::ratelimit;

#[ratelimit("10/fortnight")]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit("10")]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit("10/")]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit("ten/s")]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit("0/s")]
async fn case_5() -> &'static str {
    ""
}

#[ratelimit("10/0s")]
async fn case_6() -> &'static str {
    ""
}

#[ratelimit("4294967296/s")]
async fn case_7() -> &'static str {
    ""
}

#[ratelimit("10/69 years")]
async fn case_8() -> &'static str {
    ""
}

#[ratelimit("10/s;")]
async fn case_9() -> &'static str {
    ""
}

#[ratelimit("10/M")]
async fn case_10() -> &'static str {
    ""
}

#[ratelimit("")]
async fn case_11() -> &'static str {
    ""
}

#[ratelimit("10/s 5/m")]
async fn case_12() -> &'static str {
    ""
}

#[ratelimit(b"10/s")]
async fn case_13() -> &'static str {
    ""
}

#[ratelimit(300)]
async fn case_14() -> &'static str {
    ""
}

#[ratelimit(300 / 5)]
async fn case_15() -> &'static str {
    ""
}

#[ratelimit(tenant)]
async fn case_16() -> &'static str {
    ""
}

#[ratelimit("300/5m", limit = 300)]
async fn case_17() -> &'static str {
    ""
}

#[ratelimit("300/5m", per = 300)]
async fn case_18() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = 300, "300/5m")]
async fn case_19() -> &'static str {
    ""
}

fn main() {}
