//! The clock of counters in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// A clock for tests that stands still until it is moved. Its clones move with it.
///
/// The in-memory store counts by it, and so do the counters in memory that stand in for a failing store. Redis counts by its own
/// clock.
///
/// ```
/// use std::time::Duration;
/// use ratelimit_runtime::{ManualClock, RateLimiter};
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let clock = ManualClock::new(1_700_000_000);
/// let limiter = RateLimiter::builder().clock(clock.clone()).build()?;
/// clock.advance(Duration::from_secs(300)); // the next window, without waiting for it
/// # drop(limiter);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    /// Milliseconds since the Unix epoch.
    now: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `epoch`, in seconds since the Unix epoch.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { now: Arc::new(AtomicU64::new(epoch.saturating_mul(1000))) }
    }

    /// Moves the clock forward, by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        // The function always gives a value.
        let _ = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_add(millis)));
    }

    /// Sets the clock to `epoch`, in seconds since the Unix epoch, forward or back.
    pub fn set(&self, epoch: u64) {
        self.now.store(epoch.saturating_mul(1000), Ordering::Relaxed);
    }

    #[inline]
    fn now(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::Relaxed))
    }
}

/// The clock that a limiter counts by in memory.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    System,
    Manual(ManualClock),
}

impl Clock {
    /// The time for counters that stand in for those of a store. The store's clock decides, if its time is known and no manual clock is
    /// set, so that windows go on.
    pub(crate) fn of_store(&self, store: Option<Duration>) -> Duration {
        match (self, store) {
            (Self::System, Some(now)) => now,
            _ => self.now(),
        }
    }

    /// The time since the Unix epoch; zero for a system clock that stands before it.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::System => system(),
            Self::Manual(clock) => clock.now(),
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

/// The coarse clock of Linux. It costs an eighth of the exact one, and is late by up to one tick of the kernel, or a little more.
///
/// It is read through libc, so that libfaketime can set it for one process.
#[cfg(target_os = "linux")]
#[inline]
fn coarse() -> Option<Duration> {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

    // This function does not panic on a system without the clock.
    let coarse = clock_gettime_dynamic(DynamicClockId::Known(ClockId::RealtimeCoarse)).ok()?;
    Some(Duration::new(coarse.tv_sec.try_into().ok()?, coarse.tv_nsec.try_into().ok()?))
}

/// The coarse time, except that a second ends as soon as it does by the exact clock.
///
/// Nothing else is taken from the exact clock: it is ahead of the next tick of the coarse one, so time would go back.
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
