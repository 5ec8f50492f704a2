//! How a limiter keeps and releases the places of running requests.

use std::future::Future;

use crate::{
    limiter::{LimiterStore, RateLimiter},
    store::{CounterKey, Hit, shared::Renewal},
};

impl RateLimiter {
    /// Renews the place of a hit in a shared store until the result is dropped.
    pub(crate) fn renew(&self, key: &CounterKey, hit: Hit) -> Option<Renewal> {
        match &self.0.store {
            LimiterStore::Memory(_) => None,
            LimiterStore::Shared(store, _) => store.renew(key.clone(), hit),
        }
    }

    /// Releases the place of a hit: at once in this process. For a shared store, this returns a future that tells it. A place of the time when
    /// that failed may have been entered there since.
    pub(crate) fn release(self, key: CounterKey, hit: Hit) -> Option<impl Future<Output = ()> + Send> {
        match &self.0.store {
            LimiterStore::Memory(store) => store.refund(self.now(), &hit, hit.place, 1),
            LimiterStore::Shared(_, fallback) => fallback.release(self.now(), &hit),
        }
        (!self.is_in_memory()).then_some(async move {
            match &self.0.store {
                LimiterStore::Memory(_) => drop(key),
                // If it fails, the place ends by itself.
                LimiterStore::Shared(store, _) => {
                    let _ = store.refund(key, &hit, hit.place, 1).await;
                }
            }
        })
    }
}
