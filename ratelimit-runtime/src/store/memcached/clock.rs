//! The clock of a server, which tells whole seconds.
//!
//! A reading says that the server's time lies within one second. Readings at different moments narrow that down to the moment at which
//! the second changes. That is still coarse. So a machine uses its own clock if it agrees with the server's: synchronized clocks differ by much
//! less than a second. Times are passed in.

use std::time::{Duration, Instant};

/// The clocks of a server and of this machine drift apart by at most one part in so many.
const DRIFT: u32 = 5000;

/// The pauses between readings: until the clock is known well, and afterwards.
const OFTEN: Duration = Duration::from_millis(170);
const SELDOM: Duration = Duration::from_secs(5);

/// The clock is known well when its bounds are this close.
const KNOWN: Duration = Duration::from_millis(50);

/// The largest difference at which this machine's clock counts as right. The server's second begins at any moment, and is late on a busy
/// machine.
const AGREES: Duration = Duration::from_secs(5);

/// The estimate of a server's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerSeconds {
    started: Instant,
    /// The least and the most by which the server's time is ahead of the time since the start.
    bounds: Option<(Duration, Duration)>,
    read: Instant,
}

impl ServerSeconds {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, bounds: None, read: started }
    }

    /// The server's time since the epoch, if it was ever read. `system` is this machine's.
    pub(super) fn at(&self, now: Instant, system: Duration) -> Option<Duration> {
        let (least, most) = self.bounds?;
        let told = now.saturating_duration_since(self.started) + (least + most) / 2;
        Some(if told.abs_diff(system) <= AGREES { system } else { told })
    }

    /// Whether to read the clock again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let Some((least, most)) = self.bounds else { return true };
        let pause = if most.saturating_sub(least) > KNOWN { OFTEN } else { SELDOM };
        now.saturating_duration_since(self.read) >= pause
    }

    /// Takes in a reading: the server told these seconds between two moments.
    pub(super) fn observe(&mut self, seconds: u64, sent: Instant, read: Instant) {
        let since = |moment: Instant| moment.saturating_duration_since(self.started);
        let told = Duration::from_secs(seconds);
        let (least, most) =
            (told.saturating_sub(since(read)), (told + Duration::from_secs(1)).saturating_sub(since(sent)));
        let drift = read.saturating_duration_since(self.read) / DRIFT;
        let known = self.bounds.map(|(known_least, known_most)| {
            (least.max(known_least.saturating_sub(drift)), most.min(known_most + drift))
        });
        // A clock that was set starts again.
        self.bounds = Some(known.filter(|(least, most)| least <= most).unwrap_or((least, most)));
        self.read = read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_narrow_the_clock_down_and_follow_one_that_is_set() {
        let started = Instant::now();
        let mut clock = ServerSeconds::new(started);
        let other = Duration::ZERO;
        assert_eq!(clock.at(started, other), None);
        // The server's clock is 1000.3 seconds ahead.
        let told = |millis: u64| (1_000_300 + millis) / 1000;
        for reading in 0..30 {
            let millis = reading * 170;
            let sent = started + Duration::from_millis(millis);
            clock.observe(told(millis), sent, sent + Duration::from_millis(1));
        }
        let now = started + Duration::from_secs(6);
        let error = clock.at(now, other).unwrap_or_default().abs_diff(Duration::from_millis(1_006_300));
        assert!(error < KNOWN, "{error:?}");
        assert!(!clock.is_due(started + Duration::from_secs(6)) && clock.is_due(started + Duration::from_secs(12)));
        for system in [1_002_000, 1_010_900] {
            let system = Duration::from_millis(system);
            assert_eq!(clock.at(now, system), Some(system), "a clock that agrees");
        }
        clock.observe(5000, now, now);
        assert_eq!(clock.at(now, other), Some(Duration::from_millis(5_000_500)));
    }
}
