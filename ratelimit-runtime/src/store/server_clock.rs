//! The server's clock, estimated from the times in its replies.
//!
//! The time in a reply lies between two moments here: when the batch was sent and when the reply was read. A busy worker reads
//! late, so the second moment may be far off. The clock is therefore set by the first, and corrected only as far as both moments
//! demand. A late worker does not turn it back.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Added to the stored value, so that it is positive for every time of a server: 146 years, in nanoseconds. The latest time that a
/// reply may contain leaves room for it.
const BIAS: u64 = 1 << 62;

/// How far [`SharedClock`] may be off: each change of it costs every worker a miss in the processor's cache.
const TOLERANCE: u64 = 1_000_000;

/// The server's time as an offset to this machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerClock {
    /// The server's time less [`uptime`], in nanoseconds, plus [`BIAS`]. Never zero.
    ahead: u64,
}

impl ServerClock {
    /// The clock of a server that answered `time` to a command sent at `sent`.
    pub(crate) fn new(time: Duration, sent: Instant) -> Self {
        Self { ahead: ahead(time, sent) }
    }

    /// Corrects the clock by the time in a reply to a batch that was sent at `sent` and read at `read`.
    pub(crate) fn observe(&mut self, time: Duration, sent: Instant, read: Instant) {
        let (least, most) = (ahead(time, read), ahead(time, sent));
        self.ahead = self.ahead.max(least).min(most);
    }

    /// The server's time since the epoch.
    pub(crate) fn at(self, moment: Instant) -> Duration {
        Duration::from_nanos(self.ahead.saturating_add(uptime(moment)).saturating_sub(BIAS))
    }
}

/// The clock of the server that answered last, for all workers. It takes no lock.
#[derive(Debug, Default)]
pub(crate) struct SharedClock {
    /// As [`ServerClock::ahead`]; zero until the first reply.
    ahead: AtomicU64,
}

impl SharedClock {
    /// Takes over the clock of a connection.
    pub(crate) fn set(&self, clock: ServerClock) {
        if self.ahead.load(Relaxed).abs_diff(clock.ahead) > TOLERANCE {
            self.ahead.store(clock.ahead, Relaxed);
        }
    }

    /// Takes in a time that a store told between two moments. It never runs ahead of the store.
    pub(crate) fn observe(&self, time: Duration, sent: Instant, read: Instant) {
        let mut clock = self.get().unwrap_or_else(|| ServerClock::new(time, read));
        clock.observe(time, sent, read);
        self.set(clock);
    }

    pub(crate) fn get(&self) -> Option<ServerClock> {
        let ahead = self.ahead.load(Relaxed);
        (ahead > 0).then_some(ServerClock { ahead })
    }
}

fn ahead(time: Duration, moment: Instant) -> u64 {
    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - BIAS);
    (BIAS.saturating_add(time)).saturating_sub(uptime(moment)).max(1)
}

/// The nanoseconds of the monotonic clock since the first call in this process.
fn uptime(moment: Instant) -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(moment.saturating_duration_since(*ORIGIN).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(1_700_000_000);
    const TRIP: Duration = Duration::from_micros(50);

    /// A moment after the origin of [`uptime`].
    fn start() -> Instant {
        let now = Instant::now();
        uptime(now);
        now + Duration::from_secs(1)
    }

    #[test]
    fn the_clock_goes_on_by_itself() {
        let start = start();
        let clock = ServerClock::new(TIME, start);
        assert_eq!(clock.at(start + Duration::from_millis(1500)), TIME + Duration::from_millis(1500));
    }

    #[test]
    fn a_reply_that_is_read_late_does_not_turn_the_clock_back() {
        let start = start();
        let mut clock = ServerClock::new(TIME, start);
        let (sent, time) = (start + Duration::from_secs(1), TIME + Duration::from_secs(1) + TRIP);
        clock.observe(time, sent, sent + Duration::from_millis(500));
        assert_eq!(clock.at(sent), TIME + Duration::from_secs(1));
    }

    #[test]
    fn a_server_whose_clock_is_set_is_followed() {
        let start = start();
        let mut clock = ServerClock::new(TIME, start);
        let (sent, read) = (start + TRIP, start + 2 * TRIP);
        for time in [TIME - Duration::from_secs(3600), TIME + Duration::from_secs(3600)] {
            clock.observe(time, sent, read);
            assert!(clock.at(read).abs_diff(time) <= TRIP, "{:?} instead of {time:?}", clock.at(read));
        }
    }

    #[test]
    fn a_server_at_the_epoch_is_followed_too() {
        let start = start() + Duration::from_secs(1000);
        let clock = ServerClock::new(Duration::from_secs(5), start);
        assert_eq!(clock.at(start + Duration::from_secs(1)), Duration::from_secs(6));
        let latest = Duration::from_secs(9_999_999_999);
        assert_eq!(ServerClock::new(latest, start).at(start), latest);
    }

    #[test]
    fn a_shared_clock_is_that_of_the_last_server() {
        let (start, shared) = (start(), SharedClock::default());
        assert_eq!(shared.get(), None);
        shared.set(ServerClock::new(TIME, start));
        let other = ServerClock::new(TIME + Duration::from_secs(9), start);
        shared.set(other);
        assert_eq!(shared.get(), Some(other));
    }
}
