//! The check without a request around it, for measurements beside other limiters.

use std::net::IpAddr;

use smallvec::smallvec;

use crate::{
    algorithm::Terms,
    key::{Counter, Name, Who},
    limiter::{RateLimiter, Store},
    policy::{Algorithm, Limit},
    store::Hit,
};

/// Whether the in-memory store admits a request of `client`: hashing the address, reading the clock and counting.
#[must_use]
pub fn hit(limiter: &RateLimiter, client: IpAddr, limit: Limit) -> bool {
    match limiter.store() {
        Store::Memory(store) => {
            let scope = smallvec![Who::Ip(client.into())];
            let counter = Counter { family: 0, key: Name::Static("hit"), per: limit.per, kind: "", ordinal: 0, scope };
            let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
            let hit = Hit { hash: counter.hash(), terms, refuses: true, lease: 1, on_store_error: None };
            store.hit(limiter.now(), &[hit]).iter().all(|outcome| !outcome.over)
        }
        #[cfg(feature = "redis")]
        Store::Redis(..) => false,
    }
}
