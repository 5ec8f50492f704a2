//! What counts: conditions and methods of the wrong kind, or without sense.

use ratelimit_runtime::ratelimit;

#[ratelimit("300/5m", count_if = "failed")]
async fn count_if_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", count_if = |response| response.status().is_success())]
async fn count_if_closure() -> &'static str {
    ""
}

#[ratelimit("300/5m", count_if = failed, over_limit = "allow")]
async fn count_if_allow() -> &'static str {
    ""
}

#[ratelimit("300/5m", exempt = "office")]
async fn exempt_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", exempt = true)]
async fn exempt_boolean() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = [])]
async fn methods_empty() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = ["PSOT", "DELET", "gets"])]
async fn methods_misspelled() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = "post")]
async fn methods_lower_case() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = ["Get", "Patch", "PUT"])]
async fn methods_mixed_case() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = "POST, PUT")]
async fn methods_in_one_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = ["", "PO ST", "PÜT"])]
async fn methods_no_token() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = [POST, 5])]
async fn methods_no_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = Method::POST)]
async fn methods_not_an_array() -> &'static str {
    ""
}

#[ratelimit("300/5m", methods = ["POST", "PUT", r"POST"])]
async fn methods_twice() -> &'static str {
    ""
}

fn main() {}
