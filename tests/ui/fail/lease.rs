//! `lease` out of range, of the wrong kind, or beside what it does not fit.

use ratelimit_runtime::ratelimit;

#[ratelimit("300/5m", lease = 0)]
async fn zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = -1)]
async fn negative() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = 301)]
async fn above_the_rate() -> &'static str {
    ""
}

#[ratelimit(lease = 0x1_0000_0000, limit = 300)]
async fn too_large() -> &'static str {
    ""
}

#[ratelimit(limit = 300, lease = 1000)]
async fn above_the_limit() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = "100")]
async fn text() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = true)]
async fn boolean() -> &'static str {
    ""
}

#[ratelimit("10/second; 1000/hour", lease = 20)]
async fn several_rates() -> &'static str {
    ""
}

#[ratelimit("10/second; 1000/hour", lease = 0)]
async fn several_rates_and_zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", leases = 10)]
async fn misspelt() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = 10, algorithm = "sliding-window")]
async fn sliding_window() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = 10, algorithm = "gcra")]
async fn gcra() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = 10, count_if = failed)]
async fn count_if() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = 10, cost = asked)]
async fn cost_function() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = 10, cost = 11)]
async fn less_than_the_cost() -> &'static str {
    ""
}

fn main() {}
