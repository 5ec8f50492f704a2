//! The contract of a store: hits in, outcomes out. A store knows no Actix type.

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use smallvec::SmallVec;

use crate::{
    key::Counter,
    policy::{Limit, OnStoreError},
    window,
};

/// One rule's part in the check of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) counter: Counter,
    pub(crate) limit: Limit,
    /// Whether this rule may refuse the request; otherwise it counts and reports.
    pub(crate) refuses: bool,
    /// How many tokens may be taken at once, to be spent without the store; 1 for a rule without a lease.
    pub(crate) lease: u32,
    /// What to do when the store fails, where the rule says it.
    pub(crate) on_store_error: Option<OnStoreError>,
}

/// The hits of one request: one or two rules, as a rule.
pub(crate) type Hits = SmallVec<[Hit; 1]>;

/// What became of one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) remaining: u32,
    /// The end of the window, in seconds since the epoch by the store's clock.
    pub(crate) reset: u64,
    /// Seconds until then, at least 1.
    pub(crate) retry_after: u32,
    /// Whether the request did not fit.
    pub(crate) over: bool,
}

/// One outcome for each hit, in their order.
pub(crate) type Outcomes = SmallVec<[Outcome; 1]>;

/// What a limiter makes of it: for each hit its outcome, or `None` for one that was let through uncounted.
pub(crate) type Checked = SmallVec<[Option<Outcome>; 1]>;

/// A rule of `on_store_error = "deny"` could not be checked.
pub(crate) struct Denied;

/// A counter as the store found it, before the request was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) used: u32,
    pub(crate) window_end: u64,
}

/// The decision about one request.
pub(crate) struct Decision {
    pub(crate) admitted: bool,
    pub(crate) outcomes: Outcomes,
}

impl Decision {
    /// Whether the store has to count the hit of this index.
    pub(crate) fn counts(&self, index: usize) -> bool {
        self.admitted && !self.outcomes[index].over
    }
}

/// The one decision, for every store: a request is admitted if it fits every rule that may refuse it, and only
/// then does it count, in the rules that it fits.
pub(crate) fn decide(hits: &[Hit], found: &[Found], now: u64) -> Decision {
    let admitted = hits.iter().zip(found).all(|(hit, found)| hit.admits(found));
    let outcomes = hits.iter().zip(found).map(|(hit, found)| hit.outcome(found, admitted, now)).collect();
    Decision { admitted, outcomes }
}

/// The same decision about a request with one hit, and whether the store has to count it.
pub(crate) fn decide_one(hit: &Hit, found: &Found, now: u64) -> (Outcome, bool) {
    let admitted = hit.admits(found);
    (hit.outcome(found, admitted, now), admitted && hit.fits(found))
}

impl Hit {
    fn fits(&self, found: &Found) -> bool {
        window::fits(found.used, self.limit.limit)
    }

    /// Whether the rule lets the request through.
    fn admits(&self, found: &Found) -> bool {
        !self.refuses || self.fits(found)
    }

    fn outcome(&self, found: &Found, admitted: bool, now: u64) -> Outcome {
        let fits = self.fits(found);
        Outcome {
            remaining: self.limit.limit.saturating_sub(found.used) - u32::from(admitted && fits),
            reset: found.window_end,
            retry_after: u32::try_from(found.window_end.saturating_sub(now)).unwrap_or(u32::MAX).max(1),
            over: !fits,
        }
    }
}
