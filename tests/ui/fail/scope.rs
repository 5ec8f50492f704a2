//! A scope that does not exist, is of the wrong kind, or cannot be joined.

use ratelimit_runtime::ratelimit;

#[ratelimit("300/5m", scope = "tenant")]
async fn case_1() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "IP")]
async fn case_2() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "")]
async fn case_3() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "ip+")]
async fn case_4() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = 5)]
async fn case_5() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = |request| "all")]
async fn case_6() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = tenant())]
async fn case_7() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "ip+ip")]
async fn case_8() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = ["ip", tenant, "ip"])]
async fn case_9() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = ["header:X-A", "header:x-a"])]
async fn case_10() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = [tenant, tenant])]
async fn case_11() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "global+ip")]
async fn case_12() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = ["user", "global"])]
async fn case_13() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = [])]
async fn case_14() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = [["ip"]])]
async fn case_15() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "header:")]
async fn case_16() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "header:X Api Key")]
async fn case_17() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = "header:X-Clé")]
async fn case_18() -> &'static str {
    ""
}

fn main() {}
