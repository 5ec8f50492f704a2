//! `crate` names a crate that does not exist.

use ratelimit_runtime::ratelimit;

#[ratelimit("300/5m", crate = ::missing)]
async fn handler() -> &'static str {
    ""
}

fn main() {}
