//! Which works are of the same kind, and which are equal.

use std::cmp::{Ordering, Reverse};

use crate::{
    rule::{algorithm::Algorithm, terms::Terms},
    store::redis::work::{KeyedHit, ManualBlock, Overdraft, Refund, Work},
};

impl Work {
    /// The order of kinds. Refunds come first, so that the requests after them can use the tokens, then tokens
    /// that are taken without asking, which these requests cannot use. Leases come before plain
    /// requests, which can use what a lease leaves.
    pub(crate) fn compare_kind(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Refund(one), Self::Refund(other)) => {
                let refund = |refund: &Refund| {
                    // The key of a fixed window names its window, GCRA has no windows, and each place is an argument of its own.
                    let is_sliding = refund.terms.algorithm == Algorithm::SlidingWindow;
                    (kind(&refund.terms), refund.tokens, if is_sliding { refund.window_end } else { 0 })
                };
                refund(one).cmp(&refund(other))
            }
            (Self::Overdraft(one), Self::Overdraft(other)) => {
                let overdraft =
                    |overdraft: &Overdraft| (kind(&overdraft.terms), overdraft.tokens, overdraft.window_end);
                overdraft(one).cmp(&overdraft(other))
            }
            (Self::Block(one), Self::Block(other)) => {
                let block = |block: &ManualBlock| (block.seconds, block.longest);
                block(one).cmp(&block(other))
            }
            (Self::Reset(_, one), Self::Reset(_, other)) => kind(one).cmp(&kind(other)),
            (Self::Count(hits), Self::Count(others)) => {
                let rule = |keyed: &KeyedHit| {
                    let durations = keyed.hit.block.map(|block| block.durations);
                    (Reverse(keyed.tokens), kind(&keyed.hit.terms), keyed.hit.refuses, durations)
                };
                hits.len().cmp(&others.len()).then_with(|| hits.iter().map(rule).cmp(others.iter().map(rule)))
            }
            (one, other) => one.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::ReadMark => 0,
            Self::Reset(..) => 1,
            Self::Refund(_) => 2,
            Self::Overdraft(_) => 3,
            Self::Count(..) => 4,
            Self::Block(_) => 5,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        match self {
            Self::ReadMark | Self::Refund(_) | Self::Overdraft(_) | Self::Reset(..) | Self::Block(_) => 0,
            Self::Count(hits) => hits.first().map_or(0, |keyed| keyed.hit.hash),
        }
    }

    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::ReadMark | Self::Refund(_) | Self::Overdraft(_) | Self::Reset(..) | Self::Block(_) => 1,
            Self::Count(hits) => hits.len() + hits.iter().filter(|keyed| keyed.hit.block.is_some()).count(),
        }
    }

    /// How many numbers the script returns for it.
    pub(crate) fn values(&self) -> usize {
        let values = |keyed: &KeyedHit| {
            let values = match keyed.hit.terms.algorithm {
                Algorithm::FixedWindow | Algorithm::Concurrency => 1,
                Algorithm::SlidingWindow | Algorithm::Gcra { .. } => 2,
            };
            values + usize::from(keyed.hit.block.is_some())
        };
        match self {
            Self::ReadMark | Self::Refund(_) | Self::Overdraft(_) | Self::Reset(..) | Self::Block(_) => 1,
            Self::Count(hits) => hits.iter().map(values).sum(),
        }
    }

    /// Whether both are equal, so that they can be counted at once. Leases are counted one by one, unless the script takes them
    /// first, and so is what a rule that blocks may refuse.
    pub(crate) fn is_counted_with(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Count(hits), Self::Count(others)) => {
                let is_leased = || hits.iter().any(|keyed| keyed.tokens > keyed.hit.terms.cost);
                let blocks = || hits.iter().any(|keyed| keyed.hit.block.is_some());
                let first = || hits.len() == 1 && hits[0].can_be_taken_first();
                // Equal hashes mean equal counters, as in all tables.
                let same = |(one, other): (&KeyedHit, &KeyedHit)| {
                    (one.hit, one.tokens, one.is_refill) == (other.hit, other.tokens, other.is_refill)
                };
                hits.len() == others.len()
                    && hits.iter().zip(others).all(same)
                    && (first() || !is_leased())
                    && !blocks()
            }
            _ => false,
        }
    }
}

impl KeyedHit {
    /// Whether the script can take the tokens first and return the excess: in a fixed window, unless a lease could leave a rest
    /// that is smaller than the cost of the request, or the rule blocks.
    pub(crate) fn can_be_taken_first(&self) -> bool {
        let cost = self.hit.terms.cost;
        self.hit.terms.algorithm == Algorithm::FixedWindow
            && self.hit.block.is_none()
            && cost > 0
            && (self.tokens == cost || cost == 1)
    }
}

/// The properties of a rule that the script needs, in a fixed order.
fn kind(terms: &Terms) -> (u8, u32, u32, u32, u64, u32) {
    let (algorithm, burst) = match terms.algorithm {
        Algorithm::FixedWindow => (0, 0),
        Algorithm::SlidingWindow => (1, 0),
        Algorithm::Gcra { burst } => (2, burst),
        Algorithm::Concurrency => (3, 0),
    };
    (algorithm, burst, terms.limit.limit, terms.limit.per, terms.cost, terms.phase)
}
