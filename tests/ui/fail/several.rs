//! Attributes of one handler that contradict each other. All of them are read before any is reported.

use ratelimit_runtime::ratelimit;

#[ratelimit("10/s")]
#[ratelimit(limit = 10, per = 1)]
async fn same_rule() -> &'static str {
    ""
}

#[ratelimit("10/s; 10/second")]
async fn same_rate() -> &'static str {
    ""
}

#[ratelimit("10/s", scope = "header:X-A")]
#[ratelimit("10/s", scope = "header:x-a")]
async fn same_header() -> &'static str {
    ""
}

#[ratelimit(limit = LIMIT, key = "a")]
#[ratelimit(limit = LIMIT, per = 300, key = "a")]
async fn same_key() -> &'static str {
    ""
}

#[ratelimit("10/s", methods = ["GET", "POST"], algorithm = "gcra", cost = LIMIT)]
#[ratelimit("10/s", methods = ["POST", "GET"], algorithm = "gcra", burst = 10, cost = LIMIT)]
async fn same_in_other_words() -> &'static str {
    ""
}

#[ratelimit("10/s")]
#[ratelimit("10/s", cost = 1, algorithm = "fixed-window", stagger = true, lease = 5)]
async fn same_count() -> &'static str {
    ""
}

#[ratelimit("10/s", crate = ::ratelimit_runtime)]
#[ratelimit("1000/h", crate = ratelimit_runtime)]
async fn two_crates() -> &'static str {
    ""
}

#[ratelimit("0/s")]
#[ratelimit_runtime::ratelimit("10/fortnight")]
#[ratelimit(scope = "nobody")]
async fn errors_in_each() -> &'static str {
    ""
}

const LIMIT: u32 = 10;

fn main() {}
