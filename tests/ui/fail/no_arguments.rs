//! The attribute without its parentheses.

use ratelimit_runtime::ratelimit;

#[ratelimit]
async fn alone() -> &'static str {
    ""
}

#[ratelimit("10/s")]
#[ratelimit]
async fn below() -> &'static str {
    ""
}

#[ratelimit("10/s")]
#[ratelimit = "1000/h"]
async fn equals() -> &'static str {
    ""
}

fn main() {}
