//! The functions of a limiter that only the contract suite needs.

use crate::{
    limiter::{LimiterStore, RateLimiter},
    store::{CounterKey, Hit, StoreFailed, shared::SharedStore},
};

impl RateLimiter {
    /// Whether it may refuse from a cache for up to a second after a counter has got more room.
    pub(crate) fn has_cache(&self) -> bool {
        match &self.0.store {
            #[cfg(feature = "redis")]
            LimiterStore::Shared(SharedStore::Redis(_), _) => true,
            LimiterStore::Memory(_) | LimiterStore::Shared(..) => false,
        }
    }

    /// Writes a text in place of a counter's value; `None` for stores that have a form of their own.
    pub(crate) async fn plant(
        &self,
        key: &CounterKey,
        hit: Hit,
        text: &'static str,
    ) -> Option<Result<(), StoreFailed>> {
        match &self.0.store {
            LimiterStore::Shared(SharedStore::External(store), _) => Some(store.plant(key, hit, text).await),
            _ => None,
        }
    }
}
