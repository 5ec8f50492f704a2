//! Two servers that share a store, for each kind of store.

use std::{future::Future, sync::Arc};

use actix_web::rt::Runtime;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, RuleState};
use ratelimit_tests::app::Served;
use ratelimit_tests::map_store::MapStore;
#[cfg(feature = "memcached")]
use ratelimit_tests::memcached_server::MemcachedServer;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ratelimit_tests::sql_server::SqlServer;
#[cfg(feature = "sqlite")]
use ratelimit_tests::sqlite_file::SqliteFile;
use ratelimit_tests::target::Target;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

/// Two servers, each with a limiter, like two processes. In memory they share one limiter.
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) here: Served,
    pub(crate) there: Served,
    pub(crate) limiters: [RateLimiter; 2],
    runtime: Runtime,
}

impl Shared {
    fn new(
        name: &'static str,
        limiter: impl Fn() -> RateLimiter,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static,
    ) -> Self {
        let limiters = [limiter(), limiter()];
        let [here, there] = limiters.each_ref().map(|limiter| Served::limited(limiter, routes.clone()));
        Self { name, here, there, limiters, runtime: Runtime::new().expect("a runtime") }
    }

    pub(crate) fn in_memory(routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static) -> Self {
        let limiter = builder().build().expect("a limiter in memory");
        Self::new("in memory", || limiter.clone(), routes)
    }

    /// In a store of the application's own.
    pub(crate) fn in_map(routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static) -> Self {
        let map = Arc::new(MapStore::default());
        Self::new("in a map", || builder().store(Arc::clone(&map)).build().expect("a store"), routes)
    }

    #[cfg(feature = "memcached")]
    pub(crate) fn in_memcached(
        server: &MemcachedServer,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::new("in Memcached", || connect(&server.url()), routes)
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn in_sql(
        name: &'static str,
        server: &SqlServer,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static,
    ) -> Self {
        migrate(&server.url());
        Self::new(name, || connect(&server.url()), routes)
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn in_sqlite(
        file: &SqliteFile,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static,
    ) -> Self {
        migrate(&file.url());
        Self::new("in SQLite", || connect(&file.url()), routes)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn in_redis(
        redis: &RedisServer,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::new("in Redis", || connect(&redis.url()), routes)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn in_cluster(
        cluster: &RedisCluster,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::new("in a cluster", || connect(&cluster.url()), routes)
    }

    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The state of a counter, as `there` sees it.
    pub(crate) fn peek(&self, target: &Target) -> RuleState {
        self.wait_for(target.peek(&self.limiters[1])).expect("a store")
    }

    /// Resets a counter through `there`.
    pub(crate) fn reset(&self, target: &Target) {
        self.wait_for(target.reset(&self.limiters[1])).expect("a store");
    }
}

/// Creates the table of a store.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(crate) fn migrate(url: &str) {
    let migrated = Runtime::new().expect("a runtime").block_on(connect(url).migrate());
    assert_eq!(migrated, Ok(()));
}

#[cfg(any(feature = "redis", feature = "memcached", feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn connect(url: &str) -> RateLimiter {
    builder().store(url).build().expect("a URL")
}

/// The deadline is long, because these tests are not about failures.
fn builder() -> RateLimiterBuilder {
    let user = |request: &HttpRequest| Some(request.headers().get("x-user")?.to_str().ok()?.to_owned());
    RateLimiter::builder().deadline(ratelimit_tests::wait::PATIENCE).on_store_error(OnStoreError::Deny).user(user)
}

/// An answer with the status in `x-status`, or 200.
pub(crate) fn wanted(request: &HttpRequest) -> HttpResponse {
    let status = request.headers().get("x-status").and_then(|status| status.to_str().ok()?.parse().ok());
    HttpResponse::build(status.and_then(|code: u16| code.try_into().ok()).unwrap_or_default()).finish()
}
