//! The contract of a store: hits in, outcomes out. A store knows no Actix type.

pub(crate) mod clock;
pub(crate) mod contract;
pub(crate) mod episode;
pub(crate) mod external;
#[cfg(any(feature = "redis", feature = "memcached", feature = "mysql", feature = "postgres"))]
pub(crate) mod host;
pub(crate) mod keys;
#[cfg(feature = "memcached")]
pub(crate) mod memcached;
pub(crate) mod memory;
pub(crate) mod printable;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod server_clock;
pub(crate) mod shared;
#[cfg(feature = "_sql")]
pub(crate) mod sql;
pub(crate) mod url;

use std::{
    hash::{BuildHasher, RandomState},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use smallvec::SmallVec;

use crate::{
    counter::PlainCounter,
    decision::outcome::{Outcome, Outcomes},
    rule::{
        block::{Block, BlockState},
        on_store_error::OnStoreError,
        terms::{CounterState, Terms},
    },
};

/// One rule's part in the check of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// The hash by which tables know the counter. Stores outside this process know it by its name.
    pub(crate) hash: u64,
    pub(crate) terms: Terms,
    /// Whether this rule may refuse the request; otherwise it counts and reports.
    pub(crate) refuses: bool,
    /// How many tokens may be taken at once, to be spent without the store; 1 for a rule without a lease.
    pub(crate) lease: u32,
    /// The rule's own `on_store_error`.
    pub(crate) on_store_error: Option<OnStoreError>,
    /// The place that a request takes under a rule of concurrency, or 0.
    pub(crate) place: u64,
    /// The durations for which the rule blocks a subject that it refuses.
    pub(crate) block: Option<&'static Block>,
}

/// The name of a new place. No two places have the same name in a process, and hardly ever in two.
#[cold]
pub(crate) fn new_place() -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(process::id()));
    static PLACES: AtomicU64 = AtomicU64::new(1);
    // So the names of several processes do not run through the same numbers.
    splitmix(SEED.wrapping_add(PLACES.fetch_add(1, Relaxed).wrapping_mul(SPLITMIX)))
}

/// The step between the states of splitmix64, a generator of pseudo-random numbers.
pub(crate) const SPLITMIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number that follows from a state of splitmix64. Different states have different numbers.
pub(crate) fn splitmix(state: u64) -> u64 {
    let mix = |word: u64, shift: u32, factor: u64| (word ^ word >> shift).wrapping_mul(factor);
    let word = mix(mix(state, 30, 0xbf58_476d_1ce4_e5b9), 27, 0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The name of a counter in a store outside this process, without a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CounterKey {
    Written(String),
    /// The name is written when a batch is sent, once for all requests that are counted together.
    Plain(PlainCounter),
}

/// The store made no decision: it is down, it is late, or it answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFailed;

/// A check that was given to a store.
pub(crate) enum StoreStep<P> {
    /// It is decided.
    Decided(Outcomes),
    /// The store decides it.
    Pending(P),
    Failed,
}

impl<P> StoreStep<P> {
    pub(crate) fn map<Q>(self, pending: impl FnOnce(P) -> Q) -> StoreStep<Q> {
        match self {
            Self::Decided(outcomes) => StoreStep::Decided(outcomes),
            Self::Pending(answer) => StoreStep::Pending(pending(answer)),
            Self::Failed => StoreStep::Failed,
        }
    }
}

/// The hits of one request. Most requests have one or two.
pub(crate) type Hits = SmallVec<[Hit; 1]>;

/// The decision about one request.
pub(crate) struct Decision {
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only a cache asks"))]
    pub(crate) admitted: bool,
    pub(crate) outcomes: Outcomes,
}

/// The one decision, for every store: a request is admitted if it fits every rule that may refuse it, and only
/// then does it count, in the rules that it fits.
pub(crate) fn decide<'a>(
    hits: impl Iterator<Item = &'a Hit> + Clone,
    found: &[CounterState],
    now: Duration,
) -> Decision {
    let fits = |(hit, found): (&Hit, &CounterState)| hit.terms.fits(*found, now);
    if let (Some(hit), [found]) = (hits.clone().next(), found) {
        // One rule, as most handlers have: nothing to gather.
        let outcome = decide_one(hit, *found, now);
        return Decision { admitted: !outcome.over || !hit.refuses, outcomes: Outcomes::from_buf([outcome]) };
    }
    let refuses = |(hit, found): (&'a Hit, &CounterState)| hit.refuses && !fits((hit, found));
    let admitted = !hits.clone().zip(found).any(refuses);
    let mut outcomes = Outcomes::new();
    for (hit, found) in hits.zip(found) {
        outcomes.push(hit.outcome(*found, fits((hit, found)), admitted, now));
    }
    Decision { admitted, outcomes }
}

/// The same decision about a request with one hit.
#[inline(always)]
pub(crate) fn decide_one(hit: &Hit, found: CounterState, now: Duration) -> Outcome {
    let fits = hit.terms.fits(found, now);
    hit.outcome(found, fits, fits, now)
}

impl Hit {
    /// The state of the counter, if it is not blocked.
    pub(crate) fn unless_blocked(&self, state: CounterState, held: Option<BlockState>, now: Duration) -> CounterState {
        match self.block.and_then(|block| block.until(held, now)) {
            Some(until) => self.terms.blocked(state, until, now),
            None => state,
        }
    }

    /// The block that this outcome starts. The outcome then says that the subject is blocked. A rule starts a block only when it refuses the
    /// request by itself and no block is in force.
    pub(crate) fn block(
        &self,
        found: CounterState,
        held: Option<BlockState>,
        outcome: &mut Outcome,
        now: Duration,
    ) -> Option<BlockState> {
        let block = self.block.filter(|_| self.refuses && outcome.over && !outcome.is_blocked)?;
        let next = block.next(held, now);
        *outcome = self.outcome(self.terms.blocked(found, next.until, now), false, false, now);
        Some(next)
    }

    #[inline(always)]
    fn outcome(&self, found: CounterState, fits: bool, admitted: bool, now: Duration) -> Outcome {
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
                CounterState::Window { end, .. } | CounterState::Windows { end, .. } => end,
                CounterState::Arrival(arrival) => arrival,
                CounterState::Places(_) => self.place,
                CounterState::Blocked { until, .. } => until,
            },
            is_degraded: false,
            is_blocked: matches!(found, CounterState::Blocked { .. }),
        }
    }
}

/// Whole seconds, rounded up, so that no client returns too early.
#[inline(always)]
fn in_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
