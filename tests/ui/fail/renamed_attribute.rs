//! Two attributes of one handler, one of them under another name, would be two decisions.

use ratelimit_runtime::ratelimit;
use ratelimit_runtime::ratelimit as limit;

#[limit("10/s")]
#[limit("1000/h")]
async fn both() -> &'static str {
    ""
}

#[ratelimit("10/s")]
#[tracing::instrument]
#[limit("1000/h")]
async fn below() -> &'static str {
    ""
}

#[limit("10/s")]
#[actix_web::get("/")]
#[limit("100/m")]
#[ratelimit("1000/h")]
async fn three() -> &'static str {
    ""
}

// One under its own name above one under another is one policy: the first to be expanded finds the other by its name.
#[limit("10/s")]
#[ratelimit("1000/h")]
async fn merged() -> &'static str {
    ""
}

fn main() {}
