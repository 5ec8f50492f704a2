//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// How long a test waits for something that has to happen, before it says that it did not.
pub const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `condition` holds and returns how long that took.
///
/// # Panics
/// Names `what` when it did not hold within [`PATIENCE`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    until_some(what, || condition().then_some(())).1
}

/// As [`until`], for a test that has more to say than a name: whether `condition` held within [`PATIENCE`].
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

/// Waits until `attempt` gives a value; returns it and how long that took.
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
