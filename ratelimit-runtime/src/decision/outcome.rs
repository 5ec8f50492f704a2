//! What a check found for one rule.

use smallvec::SmallVec;

/// What became of one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) remaining: u32,
    /// The time at which more fits, in seconds since the epoch by the store's clock.
    pub(crate) reset: u64,
    /// Seconds until then, at least 1.
    pub(crate) retry_after: u32,
    /// Whether the request did not fit.
    pub(crate) over: bool,
    /// What it took.
    pub(crate) taken: u64,
    /// The end of the window from which that was taken; of GCRA the arrival time since then, in nanoseconds; of
    /// concurrency the place.
    pub(crate) window_end: u64,
    /// Whether it was taken from the counter in memory that stands in for one of a failing store.
    pub(crate) is_degraded: bool,
    /// A block of the subject is in force.
    pub(crate) is_blocked: bool,
}

/// One outcome for each hit, in their order.
pub(crate) type Outcomes = SmallVec<[Outcome; 1]>;

/// For each hit its outcome, or `None` for one that was admitted uncounted because the store failed.
pub(crate) type Decided = SmallVec<[Option<Outcome>; 1]>;

/// The store does not answer, and what was asked of it cannot go on without: a rule of `on_store_error = "deny"`, or a look at a counter.
#[derive(Debug)]
pub(crate) struct Unavailable;

impl Outcome {
    /// The outcome after `actual` tokens were charged in place of those that the request took. `emission` is the time in which a token of
    /// GCRA comes back, in nanoseconds; without it, the end of the window stays.
    pub(crate) fn settled(self, actual: u64, emission: Option<u64>) -> Self {
        let room = u64::from(self.remaining).saturating_add(self.taken);
        let remaining = u32::try_from(room.saturating_sub(actual)).unwrap_or(u32::MAX);
        let settled = Self { remaining, ..self };
        let Some(emission) = emission else { return settled };
        let now = self.reset.saturating_sub(self.retry_after.into());
        // A bucket is empty at most.
        let window_end = shifted(self.window_end, self.taken, actual.min(room), emission);
        let reset = window_end.div_ceil(1_000_000_000).max(now);
        let retry_after = u32::try_from(reset - now).unwrap_or(u32::MAX).max(1);
        Self { reset, retry_after, window_end, ..settled }
    }

    /// The outcome of tokens that were taken without a decision.
    #[cfg(feature = "redis")]
    pub(crate) fn taking(taken: u64) -> Self {
        Self {
            remaining: 0,
            reset: 0,
            retry_after: 1,
            over: false,
            taken,
            window_end: 0,
            is_degraded: false,
            is_blocked: false,
        }
    }

    /// The outcome after all that was taken is refunded.
    #[cfg(feature = "redis")]
    pub(crate) fn refunded(self) -> Self {
        let remaining = u64::from(self.remaining).saturating_add(self.taken);
        Self { remaining: u32::try_from(remaining).unwrap_or(u32::MAX), taken: 0, ..self }
    }
}

/// The time at which `after` tokens of GCRA are back, if those of `before` are at `time`. Times are in nanoseconds.
pub(crate) fn shifted(time: u64, before: u64, after: u64, emission: u64) -> u64 {
    match after.checked_sub(before) {
        Some(more) => time.saturating_add(more.saturating_mul(emission)),
        None => time.saturating_sub((before - after).saturating_mul(emission)),
    }
}
