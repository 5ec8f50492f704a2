//! What the compiler says, what the attribute becomes, and the examples.

// A test that cannot go on has failed. It reports that by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod artifacts;
mod compile_fail;
mod documents;
mod examples;
mod expansion;
mod file_store;

mod hygiene;
mod imports;
mod layers;
mod lengths;
mod public_api;
mod quickstart;
mod rust_version;
mod source_files;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Each test here holds this lock: some keep all processors busy, and others have servers with deadlines.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
