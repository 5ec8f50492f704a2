//! The tools of the tests: real Redis servers that tests can break, a proxy before them, an HTTP client that shows every
//! byte, and applications in this process and in others.
//!
//! All servers listen on a loopback address or on a Unix socket in a temporary folder. The handle that started a process
//! ends it.

// A test whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod app;
pub mod certificates;
pub mod fake_redis;
pub mod http;
pub mod map_store;
#[cfg(feature = "memcached")]
pub mod memcached_server;
#[cfg(feature = "postgres")]
pub mod pgbouncer;
#[cfg(any(feature = "redis", feature = "memcached", feature = "mysql", feature = "postgres"))]
pub(crate) mod ports;
pub mod process;
pub mod proxy;
#[cfg(feature = "redis")]
pub mod redis_cluster;
#[cfg(feature = "redis")]
pub mod redis_sentinel;
#[cfg(feature = "redis")]
pub mod redis_server;
pub mod resolver;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub mod sql_client;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod sql_database;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub mod sql_server;
#[cfg(feature = "sqlite")]
pub mod sqlite_file;
pub mod target;
pub mod wait;
pub mod websocket;

/// The longest window: it ends in the year 2038, and the next one in 2106. Tests on a real clock use it to stay away from
/// the edge of a window.
pub const FOREVER: u32 = 2_147_483_647;
