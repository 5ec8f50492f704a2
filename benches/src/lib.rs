//! The shared parts of this crate's measurements: the subjects, and their load. README.md explains how to run them.

// A measurement whose set-up fails has failed. It reports that by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cpu;
pub mod handlers;
pub mod load;
pub mod offline;
pub mod processes;
pub mod redis_server;
pub mod statistics;
pub mod subject;
#[cfg(feature = "peers")]
mod subjects;

#[cfg(feature = "peers")]
pub use subjects::{Configure, configure};
