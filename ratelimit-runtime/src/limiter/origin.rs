//! Where a limiter was made, and how many of its first requests are still to be looked at for mistakes in the set-up.

use std::{
    panic::Location,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread::{self, ThreadId},
};

use actix_web::rt::System;

/// How many requests of a limiter are looked at: enough for the clients behind a proxy to come after its health checks.
pub(crate) const LOOKS: u32 = 5000;

/// The origin of one limiter.
pub(crate) struct Origin {
    looks_left: AtomicU32,
    pub(crate) maker: Maker,
}

impl Origin {
    /// For a limiter that the caller makes.
    #[track_caller]
    pub(crate) fn here() -> Self {
        Self { looks_left: AtomicU32::new(LOOKS), maker: Maker::current() }
    }

    /// Whether there are requests left to look at.
    #[inline]
    pub(crate) fn has_looks(&self) -> bool {
        self.looks_left.load(Relaxed) != 0
    }

    /// Takes one of the looks that are left, and says how many there were.
    pub(crate) fn take_look(&self) -> Option<u32> {
        self.looks_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).ok()
    }
}

/// Where a limiter was made.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Maker {
    pub(crate) place: &'static Location<'static>,
    pub(crate) thread: ThreadId,
    pub(crate) runtime: Runtime,
}

/// What runs the worker that made a limiter, as far as that can be known.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Runtime {
    /// An Actix system of this number. Its main thread is no worker, but serves nobody.
    System(usize),
    /// A server without a system, on the application's own Tokio runtime.
    Tokio,
    NoWorker,
}

impl Maker {
    #[track_caller]
    pub(crate) fn current() -> Self {
        let thread = thread::current();
        let runtime = match System::try_current() {
            Some(system) => Runtime::System(system.id()),
            None if thread.name().is_some_and(|name| name.starts_with("actix-server worker")) => Runtime::Tokio,
            None => Runtime::NoWorker,
        };
        Self { place: Location::caller(), thread: thread.id(), runtime }
    }
}
