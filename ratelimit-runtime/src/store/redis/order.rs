//! The order of requests in one call of the script: requests whose rules are alike stand side by side, so that
//! their rules are sent once.

use std::cmp::{Ordering, Reverse};

use crate::{
    rule::{algorithm::Algorithm, terms::Terms},
    store::redis::work::{KeyedHit, Refund, Work},
};

impl Work {
    /// The order of kinds of requests: what is refunded can be had by those after it, and who takes a lease shares it
    /// with those after it.
    pub(crate) fn compare_kind(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Refund(one), Self::Refund(other)) => {
                let refund = |refund: &Refund| {
                    // The window is part of a fixed window's key, and GCRA has none.
                    let is_sliding = refund.terms.algorithm == Algorithm::SlidingWindow;
                    (kind(&refund.terms), refund.tokens, if is_sliding { refund.window_end } else { 0 })
                };
                refund(one).cmp(&refund(other))
            }
            (Self::Reset(_, one), Self::Reset(_, other)) => kind(one).cmp(&kind(other)),
            (Self::Count(asks), Self::Count(others)) => {
                let rule = |ask: &KeyedHit| (Reverse(ask.take), kind(&ask.hit.terms), ask.hit.refuses);
                asks.len().cmp(&others.len()).then_with(|| asks.iter().map(rule).cmp(others.iter().map(rule)))
            }
            (one, other) => one.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::ReadMark => 0,
            Self::Reset(..) => 1,
            Self::Refund(_) => 2,
            Self::Count(..) => 3,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        match self {
            Self::ReadMark | Self::Refund(_) | Self::Reset(..) => 0,
            Self::Count(asks) => asks.first().map_or(0, |ask| ask.hit.hash),
        }
    }

    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::ReadMark | Self::Refund(_) | Self::Reset(..) => 1,
            Self::Count(asks) => asks.len(),
        }
    }

    /// How many numbers the script returns for it.
    pub(crate) fn values(&self) -> usize {
        let values = |ask: &KeyedHit| if ask.hit.terms.algorithm == Algorithm::FixedWindow { 1 } else { 2 };
        match self {
            Self::ReadMark | Self::Refund(_) | Self::Reset(..) => 1,
            Self::Count(asks) => asks.iter().map(values).sum(),
        }
    }

    /// Whether both are the same. Those that take a lease are counted one by one, unless they are counted first.
    pub(crate) fn is_counted_with(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Count(asks), Self::Count(others)) => {
                let takes_lease = || asks.iter().any(|ask| ask.take > ask.hit.terms.cost);
                let first = || asks.len() == 1 && asks[0].is_counted_first();
                // Counters with one hash are one, as in all tables.
                let same = |(one, other): (&KeyedHit, &KeyedHit)| {
                    (one.hit, one.take, one.is_refill) == (other.hit, other.take, other.is_refill)
                };
                asks.len() == others.len() && asks.iter().zip(others).all(same) && (first() || !takes_lease())
            }
            _ => false,
        }
    }
}

impl KeyedHit {
    /// Whether a request of this rule alone can be counted at once, and what is too much taken back: in a fixed window, and
    /// not where a part of a lease would be left that is less than the request costs.
    pub(crate) fn is_counted_first(&self) -> bool {
        let cost = self.hit.terms.cost;
        self.hit.terms.algorithm == Algorithm::FixedWindow && cost > 0 && (self.take == cost || cost == 1)
    }
}

/// What the script is told of a rule, in some order.
fn kind(terms: &Terms) -> (u8, u32, u32, u32, u64, u32) {
    let (algorithm, burst) = match terms.algorithm {
        Algorithm::FixedWindow => (0, 0),
        Algorithm::SlidingWindow => (1, 0),
        Algorithm::Gcra { burst } => (2, burst),
    };
    (algorithm, burst, terms.limit.limit, terms.limit.per, terms.cost, terms.phase)
}
