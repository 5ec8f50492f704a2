//! The contract suite: every store passes it, and a store with a fault does not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use ratelimit_runtime::{Applied, Error, Operation, RateLimiter, Store, StoreError, Value, testing};
#[cfg(feature = "memcached")]
use ratelimit_tests::memcached_server::MemcachedServer;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ratelimit_tests::sql_server::{Sql, SqlServer};
#[cfg(feature = "sqlite")]
use ratelimit_tests::sqlite_file::SqliteFile;
use ratelimit_tests::{map_store::MapStore, wait};
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};
use tokio::runtime::Runtime;

#[path = "../../../../examples/file_store/store.rs"]
mod file_store;

use self::file_store::FileStore;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
use crate::store::each_store::migrate;

/// Runs the suite over limiters that share a store.
fn run(limiter: impl Fn() -> Result<RateLimiter, Error>) -> Result<(), testing::ContractError> {
    Runtime::new().expect("a runtime").block_on(testing::store_contract(limiter))
}

/// Limiters over a store of one's own.
fn run_over(store: impl Store) -> Result<(), testing::ContractError> {
    let store = Arc::new(store);
    run(|| RateLimiter::builder().store(Arc::clone(&store)).deadline(wait::PATIENCE).build())
}

#[cfg(any(feature = "redis", feature = "memcached", feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn at(url: &str) -> impl Fn() -> Result<RateLimiter, Error> {
    move || RateLimiter::builder().store(url).deadline(wait::PATIENCE).build()
}

#[test]
fn memory_passes_the_contract_suite() {
    let limiter = RateLimiter::in_memory();
    assert_eq!(run(|| Ok(limiter.clone())), Ok(()));
}

#[test]
fn a_map_passes_the_contract_suite() {
    assert_eq!(run_over(MapStore::default()), Ok(()));
}

#[cfg(feature = "redis")]
#[test]
fn redis_passes_the_contract_suite() {
    let redis = RedisServer::on_socket();
    assert_eq!(run(at(&redis.url())), Ok(()));
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[cfg(feature = "redis")]
#[test]
fn a_cluster_passes_the_contract_suite() {
    let cluster = RedisCluster::steady();
    assert_eq!(run(at(&cluster.url())), Ok(()));
}

#[test]
fn the_example_of_a_store_passes_the_contract_suite() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run_over(FileStore(folder.path().join("counters"))), Ok(()));
}

#[cfg(feature = "memcached")]
#[test]
fn memcached_passes_the_contract_suite() {
    let server = MemcachedServer::start();
    assert_eq!(run(at(&server.url())), Ok(()));
}

#[cfg(feature = "memcached")]
#[test]
fn several_servers_of_memcached_pass_the_contract_suite() {
    let servers = [(); 3].map(|()| MemcachedServer::start());
    let addresses = servers.each_ref().map(MemcachedServer::address);
    assert_eq!(run(at(&format!("memcached://{}", addresses.join(",")))), Ok(()));
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_passes_the_contract_suite() {
    let server = SqlServer::start(Sql::Postgres);
    migrate(&server.url());
    assert_eq!(run(at(&server.url())), Ok(()));
}

#[cfg(feature = "mysql")]
#[test]
fn mariadb_passes_the_contract_suite() {
    let server = SqlServer::start(Sql::MariaDb);
    migrate(&server.url());
    assert_eq!(run(at(&server.url())), Ok(()));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_passes_the_contract_suite() {
    let file = SqliteFile::new();
    migrate(&file.url());
    assert_eq!(run(at(&file.url())), Ok(()));
}

/// What a store does wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Other operations come between reading and writing.
    IsNotOneStep,
    /// Only the first counter of an operation is written.
    WritesTheFirstCounterAlone,
    /// Keys that differ in case are one.
    IgnoresCase,
    /// Counters are never removed.
    KeepsRemovedCounters,
    /// Counters are removed before they expire.
    ForgetsAfterASecond,
    /// The time comes from several clocks, of which one is a minute late.
    HasSeveralClocks,
}

struct Faulty {
    fault: Fault,
    counters: Mutex<HashMap<String, (Value, SystemTime)>>,
    operations: Mutex<u64>,
}

impl Faulty {
    fn key(&self, key: &str) -> String {
        if matches!(self.fault, Fault::IgnoresCase) { key.to_lowercase() } else { key.to_owned() }
    }

    fn held(&self, operation: &Operation) -> Vec<Option<Value>> {
        let counters = self.counters.lock().expect("a map");
        let held = |key| {
            let (value, written) = counters.get(&self.key(key))?;
            let is_kept = !matches!(self.fault, Fault::ForgetsAfterASecond)
                || written.elapsed().is_ok_and(|age| age < Duration::from_secs(1));
            is_kept.then(|| value.clone())
        };
        operation.keys().map(held).collect()
    }

    fn write(&self, operation: &Operation, applied: &Applied) {
        let keys: Vec<&str> = operation.keys().collect();
        let mut counters = self.counters.lock().expect("a map");
        for write in applied.writes() {
            let key = self.key(keys[write.index()]);
            match write.value() {
                _ if write.index() > 0 && matches!(self.fault, Fault::WritesTheFirstCounterAlone) => {}
                Some(value) => drop(counters.insert(key, (value.clone(), SystemTime::now()))),
                None if matches!(self.fault, Fault::KeepsRemovedCounters) => {}
                None => drop(counters.remove(&key)),
            }
        }
    }
}

impl Store for Faulty {
    async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
        if matches!(self.fault, Fault::IsNotOneStep) {
            let held = self.held(&operation);
            tokio::time::sleep(Duration::from_millis(1)).await;
            let applied = operation.apply(now, &held)?;
            self.write(&operation, &applied);
            return Ok(applied);
        }
        let mut operations = self.operations.lock().expect("a number");
        *operations += 1;
        let is_late = matches!(self.fault, Fault::HasSeveralClocks) && operations.is_multiple_of(2);
        let now = if is_late { now - Duration::from_secs(60) } else { now };
        let applied = operation.apply(now, &self.held(&operation))?;
        self.write(&operation, &applied);
        Ok(applied)
    }
}

#[test]
fn the_contract_suite_finds_faults() {
    let faults = [
        Fault::IsNotOneStep,
        Fault::WritesTheFirstCounterAlone,
        Fault::IgnoresCase,
        Fault::KeepsRemovedCounters,
        Fault::ForgetsAfterASecond,
        Fault::HasSeveralClocks,
    ];
    // At the same time, since each takes seconds of waiting.
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let found = run_over(Faulty { fault, counters: Mutex::default(), operations: Mutex::new(0) });
                println!("{fault:?}: {found:?}");
                assert!(found.is_err(), "{fault:?}");
            });
        }
    });
}
