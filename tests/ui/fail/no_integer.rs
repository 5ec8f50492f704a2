//! A `const` that is no integer is refused, and not made one.

use ratelimit_runtime::ratelimit;

const HALVES: f32 = 2.5;
const LETTER: char = 'x';
const YES: bool = true;
const TEN: i8 = 10;

#[ratelimit(limit = HALVES, per = LETTER)]
async fn limit_and_per() -> &'static str {
    ""
}

#[ratelimit(limit = TEN, algorithm = "gcra", burst = YES, cost = HALVES)]
async fn burst_and_cost() -> &'static str {
    ""
}

fn main() {}
