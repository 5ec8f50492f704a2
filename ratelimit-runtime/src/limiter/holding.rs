//! How a limiter keeps and releases the places of running requests.

use std::future::Future;

#[cfg(feature = "redis")]
use crate::store::redis::worker::renewals::RenewedPlace;
use crate::{
    limiter::{RateLimiter, Store},
    store::{CounterKey, Hit},
};

/// What renews a place in a shared store until it is dropped.
#[cfg(feature = "redis")]
pub(crate) type Renewal = Option<RenewedPlace>;
#[cfg(not(feature = "redis"))]
pub(crate) type Renewal = ();

#[cfg_attr(not(feature = "redis"), allow(unused_variables, reason = "a store in this process renews nothing"))]
impl RateLimiter {
    /// Renews the place of a hit in a shared store until the result is dropped.
    pub(crate) fn renew(&self, key: &CounterKey, hit: Hit) -> Renewal {
        match &self.0.store {
            Store::Memory(_) => Renewal::default(),
            #[cfg(feature = "redis")]
            Store::Redis(store, _) => store.renew(key.clone(), hit),
        }
    }

    /// Releases the place of a hit: at once in this process. For a shared store, this returns a future that tells it. A place of the time when
    /// that failed may have been entered there since.
    pub(crate) fn release(self, key: CounterKey, hit: Hit) -> Option<impl Future<Output = ()> + Send> {
        match &self.0.store {
            Store::Memory(store) => store.refund(self.now(), &hit, hit.place, 1),
            #[cfg(feature = "redis")]
            Store::Redis(_, fallback) => fallback.release(self.now(), &hit),
        }
        (!self.is_in_memory()).then_some(async move {
            match &self.0.store {
                Store::Memory(_) => drop(key),
                // If it fails, the place ends by itself.
                #[cfg(feature = "redis")]
                Store::Redis(store, _) => drop(store.refund(key, &hit, hit.place, 1).await),
            }
        })
    }
}
