//! The rates of GCRA in a store: rules with different rates that share a counter have a bucket each.
//!
//! A bucket takes a slot. Tokens that are taken from one bucket are taken from all, as far as they have some, so every rule keeps its
//! own limit. A bucket that had too few tokens is overdrawn until it is full again. Meanwhile only its own rule's tokens are refunded to
//! it.

use std::sync::OnceLock;

use crate::{
    rule::terms::Terms,
    rule::{algorithm::Algorithm, limit::Limit},
};

/// How many rates are known. A counter of one more than these is not shared.
const MOST: usize = 32;

/// The rates that counters were used with, in a store.
#[derive(Default)]
pub(super) struct Rates([OnceLock<Rate>; MOST]);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Rate {
    limit: Limit,
    burst: u32,
}

impl Rates {
    /// Adds a rule's rate, if it is of GCRA.
    pub(super) fn add(&self, terms: &Terms) {
        if let Some(rate) = Rate::of(terms) {
            // The first place that is free, or has it already.
            let _ = self.0.iter().find(|place| *place.get_or_init(|| rate) == rate);
        }
    }

    /// The terms of the other buckets that a counter may have: those of the same length.
    pub(super) fn others<'a>(&'a self, terms: &'a Terms) -> impl Iterator<Item = Terms> + 'a {
        let own = Rate::of(terms);
        let known = self.0.iter().map_while(OnceLock::get);
        let others = known.filter(move |rate| own.is_some_and(|own| own.limit.per == rate.limit.per && own != **rate));
        others.map(|rate| Terms { limit: rate.limit, algorithm: Algorithm::Gcra { burst: rate.burst }, ..*terms })
    }
}

impl Rate {
    fn of(terms: &Terms) -> Option<Self> {
        match terms.algorithm {
            Algorithm::Gcra { burst } => Some(Self { limit: terms.limit, burst }),
            Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::Concurrency => None,
        }
    }
}
