//! A number that is a `const`, or beside one, is checked when the output is compiled.

use ratelimit_runtime::ratelimit;

const NOTHING: u32 = 0;
const MANY: u64 = 1000;
const FEW: i8 = 10;
const NEGATIVE: i64 = -1;
const ENDLESS: u64 = u64::MAX;

#[ratelimit("300/5m", lease = NOTHING)]
async fn lease_zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = MANY, on_store_error = "deny")]
async fn lease_above_the_limit() -> &'static str {
    ""
}

#[ratelimit(limit = FEW, lease = 100)]
async fn lease_above_a_const() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = FEW, lease = 5)]
async fn lease_below_the_cost() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = NOTHING)]
async fn cost_zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = MANY)]
async fn cost_above_the_limit() -> &'static str {
    ""
}

#[ratelimit(limit = FEW, cost = 11)]
async fn cost_above_a_const() -> &'static str {
    ""
}

#[ratelimit(limit = MANY, algorithm = "gcra", burst = FEW, cost = 11)]
async fn cost_above_a_burst() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = NEGATIVE)]
async fn burst_negative() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = ENDLESS)]
async fn burst_too_large() -> &'static str {
    ""
}

fn main() {}
