//! The check without a request around it, for measurements beside other limiters (cargo feature `bench-internals`).
//!
//! It may change in any release.

use std::net::IpAddr;

use crate::{
    counter::{BaseHash, Name, SubjectPart},
    limiter::{LimiterStore, RateLimiter},
    rule::{algorithm::Algorithm, terms::Terms},
    store::{Hit, memory::MemoryStore},
};

pub use crate::rule::limit::Limit;

/// A rule of one limit per client's address, in memory.
pub struct MemoryCheck<'a> {
    limiter: &'a RateLimiter,
    store: &'a MemoryStore,
    base_hash: BaseHash,
    terms: Terms,
}

impl<'a> MemoryCheck<'a> {
    /// `None`, if the limiter does not count in memory.
    #[must_use]
    pub fn new(limiter: &'a RateLimiter, limit: Limit) -> Option<Self> {
        match limiter.store() {
            LimiterStore::Memory(store) => {
                let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
                Some(Self { limiter, store, base_hash: BaseHash::new(0), terms })
            }
            LimiterStore::Shared(..) => None,
        }
    }

    /// Whether a request of `client` is admitted: hashing the address, reading the clock and counting.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        let Self { limiter, store, base_hash, terms } = *self;
        let hash = base_hash.hash(0, &Name::Rule("hit"), &[SubjectPart::Ip(client.into())]);
        let hit = Hit { hash, terms, refuses: true, lease: 1, on_store_error: None, place: 0, block: None };
        !store.hit_one(limiter.now(), &hit).over
    }
}
