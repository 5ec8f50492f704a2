//! What a client sees, one request after the other: through the public API and real sockets, in memory and in Redis.

// A test that cannot go on has failed. It reports that by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod concurrency;
mod counter;
#[cfg(feature = "redis")]
mod fixtures;
mod http;
mod limiter;
mod rule;
mod store;

use ratelimit_runtime::{ManualClock, RateLimiter};

/// The time at which manual clocks start: no multiple of any window that the tests use.
const START: u64 = 1_700_000_007;

/// A limiter in memory, and its clock, which stands still until a test moves it.
fn in_memory() -> (RateLimiter, ManualClock) {
    let clock = ManualClock::new(START);
    (RateLimiter::builder().clock(clock.clone()).build().expect("a limiter in memory"), clock)
}

/// The end of the window around `time`, for windows of this many seconds.
fn window_end(time: u64, per: u64) -> u64 {
    (time / per) * per + per
}

/// The privileges in Redis that a limiter needs, besides the keys of its prefix.
#[cfg(feature = "redis")]
const APP_PRIVILEGES: &str = "+eval +evalsha +time +get +set +del +incrby +expireat +hget +hincrby +hdel";

/// The further privileges in a cluster.
#[cfg(feature = "redis")]
const CLUSTER_PRIVILEGES: &str = "+cluster|slots +asking";

/// The privileges that a limiter needs in a sentinel.
#[cfg(feature = "redis")]
const SENTINEL_PRIVILEGES: &str = "+sentinel|master";

/// Asserts that the log reports a wrong password without the password.
#[cfg(feature = "redis")]
fn assert_names_the_password(app: &ratelimit_tests::process::Process, password: &str) {
    let output = app.output().join("\n");
    let says = ["wrongpass", "password", "authentication"].iter().any(|word| output.to_lowercase().contains(word));
    assert!(says && !output.contains(password), "{output}");
}
