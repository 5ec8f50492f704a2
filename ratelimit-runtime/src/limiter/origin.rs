//! Where a limiter was made, and how many of its first requests are still to be looked at for mistakes in the set-up.

use std::{
    panic::Location,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread::{self, ThreadId},
};

use actix_web::rt::System;

/// How many requests of a limiter are looked at: enough for the clients behind a proxy to come after its health checks.
pub(crate) const LOOKS: u32 = 5000;

/// Set beside the looks that are left where a limiter is not simply to check requests. So one test of a request finds that there is
/// nothing else to do.
const SPECIAL: u32 = 1 << 31;

/// The origin of one limiter.
pub(crate) struct Origin {
    looks_left: AtomicU32,
    pub(crate) maker: Maker,
}

impl Origin {
    /// For a limiter that the caller makes. A special one is in another mode than most.
    #[track_caller]
    pub(crate) fn here(is_special: bool) -> Self {
        let special = if is_special { SPECIAL } else { 0 };
        Self { looks_left: AtomicU32::new(LOOKS | special), maker: Maker::current() }
    }

    /// Whether a request is simply to be checked: it is none to look at, and the limiter is in the mode that most are in.
    #[inline]
    pub(crate) fn is_routine(&self) -> bool {
        self.looks_left.load(Relaxed) == 0
    }

    /// Takes one of the looks that are left, and says how many there were.
    pub(crate) fn take_look(&self) -> Option<u32> {
        let take = |left| if left & !SPECIAL == 0 { None } else { Some(left - 1) };
        self.looks_left.fetch_update(Relaxed, Relaxed, take).ok().map(|left| left & !SPECIAL)
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
