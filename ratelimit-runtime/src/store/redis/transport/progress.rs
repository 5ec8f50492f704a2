//! How far an attempt to connect has come, for the log.

use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// How far an attempt to connect has come: what to name, if it takes too long.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

/// What is done to connect, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Target,
    Credentials,
    Lookup,
    Connect,
    #[cfg(feature = "rustls")]
    Handshake,
    Login,
    Question,
}

impl Progress {
    const STEPS: &[Step] = &[
        Step::Target,
        Step::Credentials,
        Step::Lookup,
        Step::Connect,
        #[cfg(feature = "rustls")]
        Step::Handshake,
        Step::Login,
        Step::Question,
    ];

    /// Says that this has begun.
    pub(crate) fn begin(&self, step: Step) {
        self.0.store(step as u8, Relaxed);
    }

    /// What began last.
    pub(crate) fn step(&self) -> Step {
        Self::STEPS.get(usize::from(self.0.load(Relaxed))).copied().unwrap_or(Step::Question)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "to the question where the server is",
            Self::Credentials => "to the call of the function for credentials",
            Self::Lookup => "to the lookup of the host name",
            Self::Connect => "to the attempt to connect",
            #[cfg(feature = "rustls")]
            Self::Handshake => "to the TLS handshake; does the server speak TLS on this port?",
            Self::Login => "to the login",
            Self::Question => "to the first question",
        })
    }
}
