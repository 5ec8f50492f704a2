//! The stores: tests for all of them, in memory, and in Redis.

mod contract;
pub(crate) mod each_store;
mod eviction;
mod external;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod sql;
mod stores;
mod suite;
