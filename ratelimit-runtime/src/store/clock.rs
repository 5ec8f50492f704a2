//! The time of the in-memory store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Where the in-memory store, and the in-memory counters that stand in for a failing store, take the time from.
///
/// Redis counts by its own clock, which this does not change.
///
/// ```
/// use std::time::Duration;
/// use ratelimit_runtime::{Clock, RateLimiter};
///
/// let clock = Clock::manual(1_700_000_000);
/// let limiter = RateLimiter::builder().clock(clock.clone()).in_memory();
/// clock.advance(Duration::from_secs(300)); // the next window, without waiting for it
/// # drop(limiter);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    /// Milliseconds since the Unix epoch.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the operating system: the default.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock for tests that stands still at `epoch` (seconds since the Unix epoch) until it is moved. Its
    /// clones move with it.
    #[must_use]
    pub fn manual(epoch: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(epoch.saturating_mul(1000)))))
    }

    /// Moves a manual clock forward, by whole milliseconds. Does nothing to the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// Sets a manual clock to `epoch` (seconds since the Unix epoch), forward or back. Does nothing to the
    /// system's clock.
    pub fn set(&self, epoch: u64) {
        if let Source::Manual(now) = &self.0 {
            now.store(epoch.saturating_mul(1000), Ordering::Relaxed);
        }
    }

    /// The time for counters that stand in for those of a store: by the store's clock, so that its windows go on, if it
    /// has told the time and none is set by hand.
    #[cfg(feature = "redis")]
    pub(crate) fn of_store(&self, store: Option<Duration>) -> Duration {
        match (&self.0, store) {
            (Source::System, Some(now)) => now,
            _ => self.now(),
        }
    }

    /// The time since the Unix epoch; zero for a system clock that stands before it.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        match &self.0 {
            Source::System => system(),
            Source::Manual(now) => Duration::from_millis(now.load(Ordering::Relaxed)),
        }
    }
}

/// The system's time, with the right second.
#[inline]
pub(crate) fn system() -> Duration {
    #[cfg(target_os = "linux")]
    if let Some(coarse) = coarse() {
        return within_second(coarse, exact);
    }
    exact()
}

#[cold]
fn exact() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Linux has a clock that costs an eighth, and is late by up to one tick of the kernel, or a little more.
///
/// Asked through libc, where a clock that is set for one process alone (by libfaketime, say) is set too.
#[cfg(target_os = "linux")]
#[inline]
fn coarse() -> Option<Duration> {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

    // Of its two functions the one that does not panic where there is no such clock.
    let coarse = clock_gettime_dynamic(DynamicClockId::Known(ClockId::RealtimeCoarse)).ok()?;
    Some(Duration::new(coarse.tv_sec.try_into().ok()?, coarse.tv_nsec.try_into().ok()?))
}

/// What the coarse clock says, but for the last moments of a second: it is over as soon as it is by the exact clock.
///
/// No more than that is taken from the exact clock, which would be ahead of the next tick of the coarse one: time would go back.
#[cfg(target_os = "linux")]
#[inline]
fn within_second(coarse: Duration, exact: impl FnOnce() -> Duration) -> Duration {
    const LONGEST_TICK: u32 = 10_000_000;

    if coarse.subsec_nanos() < 1_000_000_000 - LONGEST_TICK {
        return coarse;
    }
    let next = Duration::from_secs(coarse.as_secs().saturating_add(1));
    if exact() < next { coarse } else { next }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_second_ends_in_time_and_time_does_not_go_back() {
        // Microseconds by the coarse clock and by the exact one, which is asked for only near the end of a second.
        let readings = [
            (985_000, None),
            (993_000, Some(996_500)),
            (997_000, Some(999_999)),
            (997_000, Some(1_000_000)),
            (997_000, Some(1_001_500)),
            (1_001_000, None),
            (1_005_000, None),
        ];
        let time = readings.map(|(coarse, exact)| {
            let asked = std::cell::Cell::new(false);
            let now = within_second(Duration::from_micros(coarse), || {
                asked.set(true);
                Duration::from_micros(exact.unwrap_or_default())
            });
            assert_eq!(asked.get(), exact.is_some(), "at {coarse}");
            now.as_micros()
        });
        assert_eq!(time, [985_000, 993_000, 997_000, 1_000_000, 1_000_000, 1_001_000, 1_005_000]);
    }
}
