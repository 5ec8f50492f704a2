//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// The time after which a test that waits for a condition fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `condition` holds and returns how long that took.
///
/// # Panics
/// Names `what` when it did not hold within [`PATIENCE`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    until_some(what, || condition().then_some(())).1
}

/// Waits like [`until`], and returns whether `condition` held within [`PATIENCE`]. For tests with a message of their own.
pub fn holds(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if condition() {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}

/// Waits until `attempt` returns a value. Returns the value and the time that this took.
///
/// # Panics
/// Names `what` when there was none within [`PATIENCE`].
pub fn until_some<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return (value, start.elapsed());
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}
