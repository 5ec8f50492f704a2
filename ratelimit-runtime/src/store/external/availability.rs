//! The pauses after failures of a store. Times are passed in.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The number of failures in a row after which the store counts as down. Any success between them starts the count anew, so that a lock on
/// one counter does not stop all others.
const TOLERATED: u32 = 5;

/// The first pause between two operations while the store is down. Each next one is twice as long, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const DOUBLINGS: u32 = 3;

/// The availability of a store. While it is down, one operation after each pause tries it, and all others fail at once.
#[derive(Debug)]
pub(super) struct Availability {
    started: Instant,
    /// How many operations have failed since the last that did not.
    failures: AtomicU32,
    /// When the next operation may be tried while the store is down, in nanoseconds since the start.
    next_try: AtomicU64,
}

impl Availability {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, failures: AtomicU32::new(0), next_try: AtomicU64::new(0) }
    }

    /// Whether an operation may be tried now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let failures = self.failures.load(Relaxed);
        if failures < TOLERATED {
            return true;
        }
        let (now, due) = (self.nanos(now), self.next_try.load(Relaxed));
        let next = now.saturating_add(pause(failures));
        now >= due && self.next_try.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    pub(super) fn succeeded(&self) {
        // A load alone leaves the cache line shared between the workers.
        if self.failures.load(Relaxed) > 0 {
            self.failures.store(0, Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Instant) {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        self.failures.fetch_min(TOLERATED + DOUBLINGS, Relaxed);
        self.next_try.fetch_max(self.nanos(now).saturating_add(pause(failures)), Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_nanos() as u64
    }
}

/// The pause after so many failures, in nanoseconds.
fn pause(failures: u32) -> u64 {
    (SHORTEST_PAUSE.as_nanos() as u64) << failures.saturating_sub(TOLERATED).min(DOUBLINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_keeps_failing_is_asked_once_in_each_pause() {
        let start = Instant::now();
        let store = Availability::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        for _ in 1..TOLERATED {
            store.failed(at(0));
            assert!(store.admits(at(0)));
        }
        store.failed(at(0));
        assert!(!store.admits(at(99)));
        assert!(store.admits(at(100)), "the first pause is over");
        assert!(!store.admits(at(101)), "one operation finds out");
        store.failed(at(150));
        assert!(!store.admits(at(349)));
        assert!(store.admits(at(350)), "the second pause is twice as long");
        store.succeeded();
        assert!(store.admits(at(351)) && store.admits(at(351)));
    }

    #[test]
    fn a_success_between_failures_keeps_the_store_up() {
        let start = Instant::now();
        let store = Availability::new(start);
        for _ in 0..100 {
            (1..TOLERATED).for_each(|_| store.failed(start));
            assert!(store.admits(start));
            store.succeeded();
        }
    }
}
