//! Constants that are out of range are found by the compiler.

use std::time::Duration;

use ratelimit_runtime::ratelimit;

const NONE: u32 = 0;
const MANY: u32 = 100_000;
const LONG: Duration = Duration::from_secs(90_000);

#[ratelimit(concurrency = NONE)]
async fn none() -> &'static str {
    ""
}

#[ratelimit(concurrency = MANY)]
async fn many() -> &'static str {
    ""
}

#[ratelimit(concurrency = 2, hold = LONG)]
async fn long() -> &'static str {
    ""
}

fn main() {}
