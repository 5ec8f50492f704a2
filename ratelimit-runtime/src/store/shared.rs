//! One type for all stores outside this process.

use std::{fmt, time::Duration};

#[cfg(feature = "redis")]
use crate::store::redis::{PendingCheck, RedisStore, worker::renewals::RenewedPlace};
use crate::{
    counter::Counter,
    decision::outcome::Outcomes,
    error::Error,
    store::{
        CounterKey, Hit, Hits, StoreFailed, StoreStep,
        external::{ExternalStore, PendingOperation, renewal::RenewedExternalPlace},
    },
};

/// A store that several processes share.
pub(crate) enum SharedStore {
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    External(ExternalStore),
}

/// A check whose answer has not come.
pub(crate) enum Pending {
    #[cfg(feature = "redis")]
    Redis(PendingCheck),
    External(PendingOperation),
}

/// Renews a place until it is dropped.
pub(crate) enum Renewal {
    #[cfg(feature = "redis")]
    Redis(#[expect(dead_code, reason = "it is only dropped")] RenewedPlace),
    External(#[expect(dead_code, reason = "it is only dropped")] RenewedExternalPlace),
}

impl SharedStore {
    /// The store's time since the epoch, if it is known.
    pub(crate) fn now(&self) -> Option<Duration> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.now(),
            Self::External(store) => store.now(),
        }
    }

    /// The key of a counter.
    pub(crate) fn key(&self, counter: &Counter<'_>) -> CounterKey {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.key(counter),
            Self::External(store) => store.key(counter),
        }
    }

    /// Starts a check. `counters` are those of `hits`.
    pub(crate) fn check(&self, hits: &Hits, counters: &[Counter<'_>]) -> StoreStep<Pending> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.check(hits, counters).map(Pending::Redis),
            Self::External(store) => store.check(hits, counters).map(Pending::External),
        }
    }

    /// Waits for the answer to a check, until the deadline.
    pub(crate) async fn wait(&self, pending: &mut Pending) -> Result<Outcomes, StoreFailed> {
        match (self, pending) {
            #[cfg(feature = "redis")]
            (Self::Redis(store), Pending::Redis(pending)) => store.wait(pending).await,
            (Self::External(store), Pending::External(pending)) => store.wait(pending).await,
            // A check is awaited where it was started.
            #[cfg(feature = "redis")]
            _ => Err(StoreFailed),
        }
    }

    /// Renews the place of a hit until the result is dropped.
    pub(crate) fn renew(&self, key: CounterKey, hit: Hit) -> Option<Renewal> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.renew(key, hit).map(Renewal::Redis),
            Self::External(store) => store.renew(key, hit).map(Renewal::External),
        }
    }

    /// Refunds tokens that were taken in the window that ends at `window_end`; of concurrency, the place of that name.
    pub(crate) async fn refund(
        &self,
        key: CounterKey,
        hit: &Hit,
        window_end: u64,
        tokens: u64,
    ) -> Result<(), StoreFailed> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.refund(key, hit, window_end, tokens).await,
            Self::External(store) => store.refund(&key, hit, window_end, tokens).await,
        }
    }

    /// Takes tokens in the window that ends at `window_end`, whether or not they fit, and returns how many.
    pub(crate) async fn overdraw(
        &self,
        key: CounterKey,
        hit: &Hit,
        window_end: u64,
        tokens: u64,
    ) -> Result<u64, StoreFailed> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.overdraw(key, hit, window_end, tokens).await,
            Self::External(store) => store.overdraw(&key, hit, window_end, tokens).await,
        }
    }

    /// Reads a counter. The cost of `hit` is zero.
    pub(crate) async fn peek(&self, key: CounterKey, hit: Hit) -> Result<Outcomes, StoreFailed> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.peek(key, hit).await,
            Self::External(store) => store.count(&key, hit).await,
        }
    }

    /// Removes a counter.
    pub(crate) async fn reset(&self, key: CounterKey, hit: &Hit) -> Result<(), StoreFailed> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.reset(key, hit).await,
            Self::External(store) => store.reset(&key, hit).await,
        }
    }

    /// Blocks the subject of a counter for so many seconds, if the rule blocks.
    pub(crate) async fn block(&self, key: &CounterKey, hit: &Hit, seconds: u32) -> Result<(), StoreFailed> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.block(key, hit, seconds).await,
            Self::External(store) => store.block(key, hit, seconds).await,
        }
    }

    /// Prepares the store's database.
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(_) => Ok(()),
            Self::External(store) => store.migrate().await,
        }
    }

    /// Whether the store counts.
    pub(crate) async fn ping(&self) -> Result<(), StoreFailed> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.ping().await,
            Self::External(store) => store.ping().await,
        }
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.fmt(f),
            Self::External(store) => store.fmt(f),
        }
    }
}
