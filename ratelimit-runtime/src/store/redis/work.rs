//! Work for the script: count hits, refund tokens, take tokens that may not fit, reset a counter, read the mark of the deny cache.

use smallvec::SmallVec;

use crate::{
    decision::outcome::Outcome,
    rule::terms::Terms,
    store::{CounterKey, Hit},
};

/// One piece of work that the script does as a whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Counts the hits of one request: all of them or none.
    Count(KeyedHits),
    Refund(Refund),
    Overdraft(Overdraft),
    /// Removes a counter.
    Reset(CounterKey, Terms),
    Block(ManualBlock),
    /// Reads the mark: if it has changed, the deny cache is stale.
    ReadMark,
}

/// The hits of one request, each with the name of its counter.
pub(crate) type KeyedHits = SmallVec<[KeyedHit; 1]>;

/// A hit, the name of its counter, and how many tokens to take.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHit {
    pub(crate) hit: Hit,
    pub(crate) key: CounterKey,
    /// The tokens to take if the counter has as many: the request's cost, or more for a lease.
    pub(crate) tokens: u64,
    /// Whether all tokens are for a lease: no request waits for them.
    pub(crate) is_refill: bool,
}

/// Tokens of a counter that were taken and not used.
#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) key: CounterKey,
    pub(crate) terms: Terms,
    pub(crate) window_end: u64,
    pub(crate) tokens: u64,
}

/// Tokens to take from a counter, whether or not they fit.
#[derive(Clone, Debug)]
pub(crate) struct Overdraft {
    pub(crate) key: CounterKey,
    pub(crate) terms: Terms,
    pub(crate) window_end: u64,
    pub(crate) tokens: u64,
}

/// A block by hand.
#[derive(Clone, Debug)]
pub(crate) struct ManualBlock {
    /// The key of the block.
    pub(crate) key: CounterKey,
    pub(crate) seconds: u32,
    /// The longest block of the rule, in seconds.
    pub(crate) longest: u32,
}

/// How a piece of work is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Together with other work.
    #[default]
    Batched,
    /// By itself, because the server may refuse it together with what else is in its batch.
    Alone,
    /// By itself and after `ASKING`, to the node that its slot is moving to.
    Asking,
}

impl Refund {
    /// The tokens that an outcome took.
    pub(crate) fn of(key: CounterKey, hit: &Hit, outcome: &Outcome) -> Self {
        Self { key, terms: hit.terms, window_end: outcome.window_end, tokens: outcome.taken }
    }
}

impl Work {
    /// The name of one of its counters. In a cluster, all of them have the same slot.
    pub(crate) fn key(&self) -> Option<&CounterKey> {
        match self {
            Self::Count(hits) => hits.first().map(|hit| &hit.key),
            Self::Refund(Refund { key, .. })
            | Self::Overdraft(Overdraft { key, .. })
            | Self::Block(ManualBlock { key, .. })
            | Self::Reset(key, _) => Some(key),
            Self::ReadMark => None,
        }
    }

    /// Whether it must not be done twice, so that it is dropped where nobody knows whether it was done.
    pub(crate) fn is_done_once(&self) -> bool {
        matches!(self, Self::Refund(_) | Self::Overdraft(_))
    }

    pub(crate) fn has_several_counters(&self) -> bool {
        matches!(self, Self::Count(hits) if hits.len() > 1)
    }
}
