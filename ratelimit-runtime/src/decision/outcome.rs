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
    /// The end of the window from which that was taken; of GCRA the arrival time since then, in nanoseconds.
    pub(crate) window_end: u64,
    /// Whether it was taken from the counter in memory that stands in for one of a failing store.
    pub(crate) is_degraded: bool,
}

/// One outcome for each hit, in their order.
pub(crate) type Outcomes = SmallVec<[Outcome; 1]>;

/// For each hit its outcome, or `None` for one that was admitted uncounted because the store failed.
pub(crate) type Decided = SmallVec<[Option<Outcome>; 1]>;

/// The store does not answer, and what was asked of it cannot go on without: a rule of `on_store_error = "deny"`, or a look at a counter.
#[derive(Debug)]
pub(crate) struct Unavailable;

impl Outcome {
    /// The outcome after all that was taken is refunded.
    pub(crate) fn refunded(self) -> Self {
        let remaining = u64::from(self.remaining).saturating_add(self.taken);
        Self { remaining: u32::try_from(remaining).unwrap_or(u32::MAX), taken: 0, ..self }
    }
}
