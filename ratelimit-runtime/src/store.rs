//! The contract of a store: hits in, outcomes out. A store knows no Actix type.

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::time::Duration;

use smallvec::SmallVec;

#[cfg(feature = "redis")]
use crate::key::Plain;
use crate::{
    algorithm::{Found, Terms},
    policy::OnStoreError,
};

/// One rule's part in the check of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// Of the counter: what all tables know it by. Its name is for stores outside this process.
    pub(crate) hash: u64,
    pub(crate) terms: Terms,
    /// Whether this rule may refuse the request; otherwise it counts and reports.
    pub(crate) refuses: bool,
    /// How many tokens may be taken at once, to be spent without the store; 1 for a rule without a lease.
    pub(crate) lease: u32,
    /// What to do when the store fails, where the rule says it.
    pub(crate) on_store_error: Option<OnStoreError>,
}

/// What a store outside this process knows a counter by: its name there, without a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Written(String),
    /// To be written when it is sent, once for all requests that go there together.
    #[cfg(feature = "redis")]
    Plain(Plain),
}

/// The hits of one request: one or two rules, as a rule.
pub(crate) type Hits = SmallVec<[Hit; 1]>;

/// What became of one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) remaining: u32,
    /// When more fits, in seconds since the epoch by the store's clock.
    pub(crate) reset: u64,
    /// Seconds until then, at least 1.
    pub(crate) retry_after: u32,
    /// Whether the request did not fit.
    pub(crate) over: bool,
    /// What it took.
    pub(crate) taken: u64,
    /// The end of the window from which that was taken; of GCRA the arrival time since then, in nanoseconds.
    pub(crate) window_end: u64,
    /// Whether it was taken from what stands in for a failing store.
    pub(crate) local: bool,
}

/// One outcome for each hit, in their order.
pub(crate) type Outcomes = SmallVec<[Outcome; 1]>;

/// What a limiter makes of it: for each hit its outcome, or `None` for one that was let through uncounted.
pub(crate) type Checked = SmallVec<[Option<Outcome>; 1]>;

/// A rule of `on_store_error = "deny"` could not be checked.
pub(crate) struct Denied;

/// The decision about one request.
pub(crate) struct Decision {
    #[cfg(feature = "redis")]
    pub(crate) admitted: bool,
    pub(crate) outcomes: Outcomes,
}

/// The one decision, for every store: a request is admitted if it fits every rule that may refuse it, and only
/// then does it count, in the rules that it fits.
pub(crate) fn decide<'a>(hits: impl Iterator<Item = &'a Hit> + Clone, found: &[Found], now: Duration) -> Decision {
    let fits = |(hit, found): (&Hit, &Found)| hit.terms.fits(*found, now);
    if let (Some(hit), [found]) = (hits.clone().next(), found) {
        // As most handlers have it, and cheaper than to gather.
        let outcome = decide_one(hit, *found, now);
        return Decision {
            #[cfg(feature = "redis")]
            admitted: !outcome.over || !hit.refuses,
            outcomes: Outcomes::from_buf([outcome]),
        };
    }
    let refuses = |(hit, found): (&'a Hit, &Found)| hit.refuses && !fits((hit, found));
    let admitted = !hits.clone().zip(found).any(refuses);
    let mut outcomes = Outcomes::new();
    for (hit, found) in hits.zip(found) {
        outcomes.push(hit.outcome(*found, fits((hit, found)), admitted, now));
    }
    Decision {
        #[cfg(feature = "redis")]
        admitted,
        outcomes,
    }
}

/// The same decision about a request with one hit.
#[inline(always)]
pub(crate) fn decide_one(hit: &Hit, found: Found, now: Duration) -> Outcome {
    let fits = hit.terms.fits(found, now);
    hit.outcome(found, fits, fits, now)
}

impl Hit {
    #[inline(always)]
    fn outcome(&self, found: Found, fits: bool, admitted: bool, now: Duration) -> Outcome {
        let terms = &self.terms;
        let taken = if admitted && fits { terms.cost } else { 0 };
        let after = terms.take(found, taken, now);
        let reset = terms.reset(after, fits, now);
        Outcome {
            remaining: terms.remaining(after, now),
            reset: in_seconds(reset),
            retry_after: u32::try_from(in_seconds(reset.saturating_sub(now))).unwrap_or(u32::MAX).max(1),
            over: !fits,
            taken,
            window_end: match after {
                Found::Window { end, .. } | Found::Windows { end, .. } => end,
                Found::Arrival(arrival) => arrival,
            },
            local: false,
        }
    }
}

impl Outcome {
    /// The outcome after all that it took was given back.
    pub(crate) fn given_back(self) -> Self {
        let remaining = u64::from(self.remaining).saturating_add(self.taken);
        Self { remaining: u32::try_from(remaining).unwrap_or(u32::MAX), taken: 0, ..self }
    }
}

/// Rounded up, so that nobody comes too early.
#[inline(always)]
fn in_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
