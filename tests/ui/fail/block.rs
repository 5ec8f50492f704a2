//! `block`: durations out of range or out of order, and arguments beside which it means nothing.

use ratelimit_runtime::{Policy, policy, ratelimit};

#[ratelimit("5/minute", block = 0)]
async fn zero() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = "91 days")]
async fn long() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = "ten minutes")]
async fn words() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = [])]
async fn none() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = ["10m", "1m"])]
async fn descending() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = ["1m", "60s"])]
async fn equal() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])]
async fn many() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = true)]
async fn boolean() -> &'static str {
    ""
}

#[ratelimit("5/minute", block = "10m", over_limit = "allow")]
async fn shadow() -> &'static str {
    ""
}

#[ratelimit("100/minute", block = "10m", lease = 10)]
async fn leased() -> &'static str {
    ""
}

#[ratelimit("5/minute", concurrency = 2, block = "10m")]
async fn at_once() -> &'static str {
    ""
}

static LOGIN: Policy = policy!("5/minute", key = "login", blok = "10m");

#[ratelimit(policy = LOGIN, block = "10m")]
async fn beside_a_policy() -> &'static str {
    ""
}

fn main() {}
