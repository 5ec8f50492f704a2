//! The steps of an attempt to connect, so that a late attempt can say which step was late.

use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// The current step of an attempt to connect.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

/// The steps of an attempt, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ConnectStep {
    Endpoint,
    Credentials,
    HostLookup,
    Connect,
    #[cfg(feature = "rustls")]
    Handshake,
    Login,
    FirstCommand,
}

impl Progress {
    const STEPS: &[ConnectStep] = &[
        ConnectStep::Endpoint,
        ConnectStep::Credentials,
        ConnectStep::HostLookup,
        ConnectStep::Connect,
        #[cfg(feature = "rustls")]
        ConnectStep::Handshake,
        ConnectStep::Login,
        ConnectStep::FirstCommand,
    ];

    pub(crate) fn start(&self, step: ConnectStep) {
        self.0.store(step as u8, Relaxed);
    }

    /// The step that started last.
    pub(crate) fn step(&self) -> ConnectStep {
        Self::STEPS.get(usize::from(self.0.load(Relaxed))).copied().unwrap_or(ConnectStep::FirstCommand)
    }
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoint => "to the question where the server is",
            Self::Credentials => "to the call of the function for credentials",
            Self::HostLookup => "to the lookup of the host name",
            Self::Connect => "to the attempt to connect",
            #[cfg(feature = "rustls")]
            Self::Handshake => "to the TLS handshake; does the server speak TLS on this port?",
            Self::Login => "to the login",
            Self::FirstCommand => "to the first question",
        })
    }
}
