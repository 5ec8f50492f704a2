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
mod stores;
mod suite;
