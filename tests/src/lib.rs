//! What the tests stand on: a real Redis that can be hurt, a proxy between it and the application, an HTTP client that
//! shows every byte, and applications in this process and in others.
//!
//! Everything listens on a loopback address or on a Unix socket in a temporary folder, and every process is ended by the
//! handle that started it.

// A test that cannot set its stage has failed, and a panic with a message is how a test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod app;
pub mod certificates;
pub mod fake_redis;
pub mod http;
pub mod process;
pub mod proxy;
#[cfg(feature = "redis")]
pub mod redis_cluster;
#[cfg(feature = "redis")]
pub mod redis_sentinel;
#[cfg(feature = "redis")]
pub mod redis_server;
pub mod resolver;
pub mod target;
pub mod wait;

/// The longest window, which ends in the year 2038 (and the next one in 2106): for tests that count on a real clock and
/// must not meet a window's edge.
pub const FOREVER: u32 = 2_147_483_647;
