//! An algorithm, burst or stagger that does not exist, is out of range, or does not fit the others.

use ratelimit_runtime::ratelimit;

#[ratelimit("300/5m", algorithm = "token-bucket")]
async fn unknown() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "sliding_window")]
async fn underscore() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = gcra)]
async fn no_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "bucket", burst = 0)]
async fn unknown_with_burst() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = 0)]
async fn burst_zero() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = -5)]
async fn burst_negative() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = 4294967296)]
async fn burst_too_large() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = "20")]
async fn burst_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", burst = 20)]
async fn burst_alone() -> &'static str {
    ""
}

#[ratelimit("300/5m", burst = 20, algorithm = "fixed-window")]
async fn burst_of_fixed_window() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "sliding-window", burst = 20)]
async fn burst_of_sliding_window() -> &'static str {
    ""
}

#[ratelimit("10/second; 1000/hour", algorithm = "gcra", burst = 20)]
async fn burst_of_several_rates() -> &'static str {
    ""
}

#[ratelimit("300/5m", stagger = "yes")]
async fn stagger_text() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", stagger = true)]
async fn stagger_of_gcra() -> &'static str {
    ""
}

fn main() {}
