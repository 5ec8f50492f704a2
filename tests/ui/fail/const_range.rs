//! A `const` is checked when the output is compiled, and reported where it is named.

use ratelimit_runtime::ratelimit;

const NOTHING: u32 = 0;
const NEGATIVE: i64 = -1;
const ENDLESS: u64 = u64::MAX;

#[ratelimit(limit = NOTHING)]
async fn limit_zero() -> &'static str {
    ""
}

#[ratelimit(limit = ENDLESS, per = 60)]
async fn limit_too_large() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = NEGATIVE)]
async fn per_negative() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = ENDLESS)]
async fn per_too_long() -> &'static str {
    ""
}

fn main() {}
