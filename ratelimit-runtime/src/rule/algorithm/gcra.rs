//! The arithmetic of the generic cell rate algorithm. Its state is one time, the theoretical arrival time, at which all tokens
//! that were taken have come back. Times are in nanoseconds since the epoch.

use std::time::Duration;

use crate::rule::limit::Limit;

/// The longest time in which all tokens may come back, in seconds: in nanoseconds, it is a whole number that Redis's Lua can
/// hold.
pub(crate) const LONGEST_REFILL: u32 = 90 * 86400;

/// In a second.
pub(crate) const NANOS: u64 = 1_000_000_000;

/// A rate, and how many of its tokens may wait.
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) rate: Limit,
    pub(crate) burst: u32,
}

impl Bucket {
    /// The time in which one token comes back, in nanoseconds, rounded up.
    pub(crate) fn emission(self) -> u64 {
        (u64::from(self.rate.per) * NANOS).div_ceil(self.rate.limit.into())
    }

    /// The time in which all tokens come back, in nanoseconds: at most 90 days, which the constructor of a rule ensures.
    fn tolerance(self) -> u64 {
        u64::from(self.burst) * self.emission()
    }

    /// How many tokens are taken, rounded up.
    // Out of line, or it takes 70 instructions more to check a fixed window.
    #[inline(never)]
    pub(crate) fn used(self, arrival: u64, now: Duration) -> u64 {
        self.outstanding(arrival, now).div_ceil(self.emission())
    }

    /// The arrival time after `tokens` were taken.
    // Out of line, or it takes 70 instructions more to check a fixed window.
    #[inline(never)]
    pub(crate) fn take(self, arrival: u64, tokens: u64, now: Duration) -> u64 {
        let from = nanos(now).saturating_add(self.outstanding(arrival, now));
        from.saturating_add(tokens.saturating_mul(self.emission()))
    }

    /// The arrival time after `tokens` were taken, or as many as there are.
    pub(crate) fn take_at_most(self, arrival: u64, tokens: u64, now: Duration) -> u64 {
        self.take(arrival, tokens, now).min(nanos(now).saturating_add(self.tolerance()))
    }

    /// The arrival time of a bucket from which `used` tokens are taken, or all.
    pub(crate) fn with_used(self, used: u64, now: Duration) -> u64 {
        match used.min(self.burst.into()) {
            0 => 0,
            used => nanos(now).saturating_add(used * self.emission()),
        }
    }

    /// The arrival time after `tokens` were refunded.
    pub(crate) fn refund(self, arrival: u64, tokens: u64) -> u64 {
        arrival.saturating_sub(tokens.saturating_mul(self.emission()))
    }

    /// The time at which all tokens are back if the request fits, and otherwise the time at which it does.
    // Out of line, or it takes 70 instructions more to check a fixed window.
    #[inline(never)]
    pub(crate) fn reset(self, arrival: u64, cost: u64, fits: bool, now: Duration) -> Duration {
        let all = self.outstanding(arrival, now);
        let room = u64::from(self.burst).checked_sub(cost).map(|room| room * self.emission());
        let wait = if fits { all } else { room.map_or(all, |room| all.saturating_sub(room)) };
        now + Duration::from_nanos(wait)
    }

    /// How far the arrival time is ahead, in nanoseconds: at most the time in which all tokens come back. A time more than
    /// twice as far ahead comes from before the clock was set back. It counts as past, or clients would wait for the clock to catch up.
    fn outstanding(self, arrival: u64, now: Duration) -> u64 {
        let (ahead, all) = (arrival.saturating_sub(nanos(now)), self.tolerance());
        if ahead <= 2 * all.max(u64::from(self.rate.per) * NANOS) { ahead.min(all) } else { 0 }
    }
}

/// In range until the year 2554.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
