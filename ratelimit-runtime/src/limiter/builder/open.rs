//! The last step of a builder: a limiter with its store.

use std::sync::{Arc, Once};

#[cfg(feature = "memcached")]
use crate::store::memcached::MemcachedStore;
#[cfg(feature = "_sql")]
use crate::store::sql::SqlStore;
#[cfg(feature = "mysql")]
use crate::store::sql::mysql::MySql;
#[cfg(feature = "postgres")]
use crate::store::sql::postgres::Postgres;
#[cfg(feature = "sqlite")]
use crate::store::sql::sqlite::{self, Sqlite};
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
        Err(without_feature("Memcached", "memcached"))
    }

    #[cfg(feature = "mysql")]
    #[track_caller]
    pub(super) fn mysql(self, url: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        let database = MySql::new(url.rest, &self.sql.table)?;
        let connections = self.sql.connections;
        self.external(Arc::new(SqlStore::new(database, connections)))
    }

    #[cfg(not(feature = "mysql"))]
    pub(super) fn mysql(self, _: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        Err(without_feature("MariaDB and MySQL", "mysql"))
    }

    #[cfg(feature = "postgres")]
    #[track_caller]
    pub(super) fn postgres(self, url: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        let database = Postgres::new(url.rest, &self.sql.table, self.deadline)?;
        let connections = self.sql.connections;
        self.external(Arc::new(SqlStore::new(database, connections)))
    }

    #[cfg(not(feature = "postgres"))]
    pub(super) fn postgres(self, _: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        Err(without_feature("PostgreSQL", "postgres"))
    }

    #[cfg(feature = "sqlite")]
    #[track_caller]
    pub(super) fn sqlite(self, url: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        let database = Sqlite::new(url.rest, &self.sql.table, self.deadline)?;
        self.external(Arc::new(SqlStore::new(database, sqlite::CONNECTIONS)))
    }

    #[cfg(not(feature = "sqlite"))]
    pub(super) fn sqlite(self, _: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        Err(without_feature("SQLite", "sqlite"))
    }

    #[cfg(not(feature = "redis"))]
    pub(super) fn redis(self, _: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        Err(without_feature("Redis", "redis"))
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

#[cfg(not(all(
    feature = "memcached",
    feature = "mysql",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
)))]
fn without_feature(store: &str, feature: &str) -> Error {
    Error::Url {
        part: "scheme",
        reason: format!(
            "{store} is the cargo feature `{feature}` of ratelimit-runtime; switch it on, or write memory://"
        ),
    }
}
