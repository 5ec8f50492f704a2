//! Constant expressions out of range or of the wrong type are reported where they stand, and so is what is no constant.

use std::time::Duration;

use ratelimit_runtime::ratelimit;

const BASE: u32 = 10;
const HALF: Duration = Duration::from_millis(1500);

#[ratelimit(limit = 60 * 0)]
async fn nothing() -> &'static str {
    ""
}

#[ratelimit(limit = 5 - 10, per = 60)]
async fn negative() -> &'static str {
    ""
}

#[ratelimit(limit = BASE - 10, per = "1h")]
async fn nothing_left() -> &'static str {
    ""
}

#[ratelimit(limit = BASE - 11, per = "1h")]
async fn overflow() -> &'static str {
    ""
}

#[ratelimit(limit = 1_000_000 * 5_000)]
async fn too_large() -> &'static str {
    ""
}

#[ratelimit(limit = BASE, per = HALF)]
async fn no_whole_seconds() -> &'static str {
    ""
}

#[ratelimit(limit = BASE, per = Duration::ZERO)]
async fn no_time() -> &'static str {
    ""
}

#[ratelimit(limit = HALF)]
async fn limit_of_time() -> &'static str {
    ""
}

#[ratelimit(limit = 300, per = BASE as f32 / 2.0)]
async fn fraction() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = BASE * 31)]
async fn cost_above_the_limit() -> &'static str {
    ""
}

#[ratelimit("300/5m", lease = { BASE } * 50)]
async fn lease_above_the_limit() -> &'static str {
    ""
}

#[ratelimit("300/5m", algorithm = "gcra", burst = BASE - BASE)]
async fn burst_of_nothing() -> &'static str {
    ""
}

#[ratelimit("300/5m", cost = || 5)]
async fn closure() -> &'static str {
    ""
}

#[ratelimit(limit = [300], per = (60, 60))]
async fn several() -> &'static str {
    ""
}

#[ratelimit(limit = &BASE, per = 1..60)]
async fn reference_and_range() -> &'static str {
    ""
}

fn main() {}
