//! Values of the other arguments that are of the wrong kind.

use ratelimit_runtime::ratelimit;

#[ratelimit("300/5m", key = "")]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit("300/5m", key = " ")]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit("300/5m", key = 5)]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit("300/5m", key = ["a"])]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit("300/5m", over_limit = "refuse")]
async fn case_5() -> &'static str {
    ""
}

#[ratelimit("300/5m", over_limit = true)]
async fn case_6() -> &'static str {
    ""
}

#[ratelimit("300/5m", over_limit = |_, _| "no")]
async fn case_7() -> &'static str {
    ""
}

#[ratelimit("300/5m", send_x_headers = "false")]
async fn case_8() -> &'static str {
    ""
}

#[ratelimit("300/5m", send_x_headers = 0)]
async fn case_9() -> &'static str {
    ""
}

#[ratelimit("300/5m", on_store_error = "ignore")]
async fn case_10() -> &'static str {
    ""
}

#[ratelimit("300/5m", on_store_error = allow)]
async fn case_11() -> &'static str {
    ""
}

#[ratelimit("300/5m", crate = 5)]
async fn case_12() -> &'static str {
    ""
}

#[ratelimit("300/5m", crate = "no path")]
async fn case_13() -> &'static str {
    ""
}

#[ratelimit("300/5m", crate = crate::runtime())]
async fn case_14() -> &'static str {
    ""
}

fn main() {}
