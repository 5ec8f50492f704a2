//! A lease that is a `const`, or whose limit is one, is checked when the output is compiled.

use ratelimit_runtime::ratelimit;

const NOTHING: u32 = 0;
const MANY: u64 = 1000;
const FEW: i8 = 10;

#[ratelimit("300/5m", lease = NOTHING)]
async fn zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = MANY, on_store_error = "deny")]
async fn above_the_limit() -> &'static str {
    ""
}

#[ratelimit(limit = FEW, lease = 100)]
async fn above_the_const() -> &'static str {
    ""
}

fn main() {}
