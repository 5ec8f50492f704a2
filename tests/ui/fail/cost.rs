//! A cost out of range, of the wrong kind, or above what the rule can hold.

use ratelimit_runtime::ratelimit;

const LIMIT: u32 = 300;

#[ratelimit("300/5m", cost = 0)]
async fn zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = -1)]
async fn negative() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = 301)]
async fn above_the_limit() -> &'static str {
    ""
}

#[ratelimit("10/second; 1000/hour", cost = 11)]
async fn above_the_lowest_limit() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = 20, cost = 21)]
async fn above_the_burst() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", cost = 301)]
async fn above_the_limit_as_burst() -> &'static str {
    ""
}

#[ratelimit(limit = LIMIT, cost = 4294967296)]
async fn too_large() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = "5")]
async fn text() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = 0.5)]
async fn fraction() -> &'static str {
    ""
}

fn main() {}
