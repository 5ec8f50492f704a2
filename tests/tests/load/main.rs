//! Many requests at once, from many processes, while the store fails and applications die.

// A test that cannot go on has failed. It reports that by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod exactness;

#[cfg(feature = "redis")]
mod busy_workers;
#[cfg(feature = "redis")]
mod clock;
#[cfg(feature = "redis")]
mod cluster_failures;
#[cfg(feature = "redis")]
mod crash;
#[cfg(feature = "redis")]
mod deny_cache;
#[cfg(feature = "redis")]
mod flapping;
#[cfg(feature = "redis")]
mod idle;
#[cfg(feature = "redis")]
mod leases;
#[cfg(feature = "redis")]
mod local;
#[cfg(feature = "redis")]
mod outage;
#[cfg(feature = "redis")]
mod redis_failures;
#[cfg(feature = "redis")]
mod sentinel_failures;
#[cfg(feature = "redis")]
mod store_errors;

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ratelimit_tests::process::Process;

/// The limit of `/edge` and `/leased-edge` in the `app`.
const EDGE: usize = 150;

/// The number of worker threads of an `app`.
#[cfg(feature = "redis")]
const WORKERS: usize = 2;

/// Each test here holds this lock, because the load of one test would disturb the times of another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the `app` with these settings.
fn app(settings: &[(&str, &str)]) -> Process {
    Process::start(&mut app_command(settings))
}

fn app_command(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env_remove("RATELIMIT_URL").envs(settings.iter().copied());
    command
}
