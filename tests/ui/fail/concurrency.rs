//! What runs at the same time: values out of range, and arguments of a rate beside it.

use ratelimit_runtime::{Policy, policy, ratelimit};

#[ratelimit(concurrency = 0)]
async fn zero() -> &'static str {
    ""
}

#[ratelimit(concurrency = 10_001)]
async fn too_many() -> &'static str {
    ""
}

#[ratelimit(concurrency = "2")]
async fn text() -> &'static str {
    ""
}

#[ratelimit(concurrency = plan)]
async fn function() -> &'static str {
    ""
}

#[ratelimit(concurrency = 2, hold = "2 days")]
async fn long() -> &'static str {
    ""
}

#[ratelimit(concurrency = 2, hold = "0s")]
async fn short() -> &'static str {
    ""
}

#[ratelimit("100/minute", hold = "60s")]
async fn hold_alone() -> &'static str {
    ""
}

#[ratelimit(concurrency = 2, per = 60)]
async fn per() -> &'static str {
    ""
}

#[ratelimit("100/minute", concurrency = 2, cost = 2)]
async fn cost() -> &'static str {
    ""
}

#[ratelimit(concurrency = 2, lease = 10, algorithm = "gcra", burst = 5, stagger = true, count_if = failed)]
async fn all() -> &'static str {
    ""
}

fn failed(_: &actix_web::HttpResponse) -> bool {
    true
}

#[ratelimit(concurrency = 2)]
#[ratelimit("100/minute", concurrency = 2)]
async fn twice() -> &'static str {
    ""
}

#[ratelimit(concurency = 2)]
async fn misspelled() -> &'static str {
    ""
}

#[ratelimit(policy = EXPORTS, concurrency = 2)]
async fn beside_a_policy() -> &'static str {
    ""
}

static EXPORTS: Policy = policy!(concurrency = 2, cost = 3, key = "exports");

fn main() {}
