//! What Redis is asked for: counting, refunding, resetting, reading the mark.

use smallvec::SmallVec;

use crate::{
    decision::outcome::{Outcome, Outcomes},
    rule::terms::Terms,
    store::{CounterKey, Hit, redis::redirect::Redirect},
};

#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Counts the hits, all or none of them.
    Count(KeyedHits),
    /// Takes back what was counted and not used.
    Refund(Refund),
    /// Forgets what was counted.
    Reset(CounterKey, Terms),
    /// Reads the mark.
    ReadMark,
}

/// What a request asks for: one part for each of its hits.
pub(crate) type KeyedHits = SmallVec<[KeyedHit; 1]>;

#[derive(Clone, Debug)]
pub(crate) struct KeyedHit {
    pub(crate) hit: Hit,
    pub(crate) key: CounterKey,
    /// How many tokens to take, if there are as many: the request's cost, or more, to be spent later.
    pub(crate) take: u64,
    /// All of it is to be spent later: there is no request that waits for it.
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SendMode {
    #[default]
    Usual,
    /// By itself: its counters may be on two nodes, and that must not stop others.
    Alone,
    /// By itself, to the node that its slot is being moved to.
    Asking,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Decided(Outcomes),
    /// Another node has the counters.
    Elsewhere(Redirect),
}

impl Work {
    /// A counter that it is about, as are all others in a cluster's slot.
    pub(crate) fn key(&self) -> Option<&CounterKey> {
        match self {
            Self::Count(asks) => asks.first().map(|ask| &ask.key),
            Self::Refund(Refund { key, .. }) | Self::Reset(key, _) => Some(key),
            Self::ReadMark => None,
        }
    }

    pub(crate) fn has_several_counters(&self) -> bool {
        matches!(self, Self::Count(asks) if asks.len() > 1)
    }
}

/// The hits of a request whose counters are in one slot.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) slot: u16,
    /// Which of the request's hits.
    pub(crate) hits: SmallVec<[usize; 1]>,
    pub(crate) asks: KeyedHits,
}

impl Part {
    pub(crate) fn work(&self) -> Work {
        Work::Count(self.asks.clone())
    }
}

impl Refund {
    /// The refund of what `hit` has taken.
    pub(crate) fn of(key: CounterKey, hit: &Hit, outcome: &Outcome) -> Self {
        Self { key, terms: hit.terms, window_end: outcome.window_end, tokens: outcome.taken }
    }
}
