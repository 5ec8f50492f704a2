//! The last step of a builder: a limiter with its store.

use std::sync::{Arc, Once};

#[cfg(feature = "memcached")]
use crate::store::memcached::MemcachedStore;
use crate::{
    error::Error,
    limiter::{
        Limiter, LimiterStore, RateLimiter, builder::RateLimiterBuilder, clients::Clients, fallback::Fallback,
        mode::Mode, origin::Origin,
    },
    store::{
        contract::erased::ErasedStore, external::ExternalStore, memory::MemoryStore, shared::SharedStore, url::StoreUrl,
    },
};

impl RateLimiterBuilder {
    #[cfg(feature = "memcached")]
    #[track_caller]
    pub(super) fn memcached(self, url: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        self.external(Arc::new(MemcachedStore::new(url.rest)?))
    }

    #[cfg(not(feature = "memcached"))]
    pub(super) fn memcached(self, _: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        Err(Error::Url {
            part: "scheme",
            reason: "Memcached is the cargo feature `memcached` of ratelimit-runtime; switch it on".to_owned(),
        })
    }

    #[cfg(not(feature = "redis"))]
    pub(super) fn redis(self, _: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        Err(Error::Url {
            part: "scheme",
            reason: "Redis is the cargo feature `redis` of ratelimit-runtime; switch it on, or write memory://"
                .to_owned(),
        })
    }

    #[track_caller]
    pub(super) fn external(mut self, store: Arc<dyn ErasedStore>) -> Result<RateLimiter, Error> {
        let prefix = std::mem::take(&mut self.prefix);
        let store = ExternalStore::new(store, prefix, self.deadline, &self.hashing)?;
        Ok(self.shared(SharedStore::External(store)))
    }

    #[track_caller]
    pub(super) fn shared(self, store: SharedStore) -> RateLimiter {
        let on_store_error = match self.mode() {
            Mode::Enforcing => self.on_store_error,
            Mode::Shadow | Mode::Disabled => self.on_store_error.admitting(),
        };
        let store = LimiterStore::Shared(store, Fallback::new(on_store_error, self.capacity));
        self.limiter(store)
    }

    #[track_caller]
    pub(in crate::limiter) fn in_memory(self) -> RateLimiter {
        let store = LimiterStore::Memory(MemoryStore::new(self.capacity));
        self.limiter(store)
    }

    #[track_caller]
    fn limiter(self, store: LimiterStore) -> RateLimiter {
        let mode = self.mode();
        let origin = Origin::here(mode != Mode::Enforcing);
        let clients = Clients { ip: self.ip, user: self.user, reported: Once::new() };
        RateLimiter::new(Limiter { store, clock: self.clock, clients, answers: self.answers, origin, mode })
    }
}
