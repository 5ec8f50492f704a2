//! A server: where it is, and how to connect and log in to it.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use redis::RedisResult;

use super::{
    login::Login,
    stream::{Stream, Transport},
};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// An IPv6 address stands without brackets.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

impl Address {
    /// The host, or nothing for a Unix socket.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "",
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// Another address of the same kind.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        // An IPv6 address in a URL has brackets, and in what a server says of another it has none.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self::Tcp { host, port, tls: self.is_tls() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How far an attempt to connect has come: what to name, if it takes too long.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

/// What is done to connect, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    Place,
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
        Step::Place,
        Step::Credentials,
        Step::Lookup,
        Step::Connect,
        #[cfg(feature = "rustls")]
        Step::Handshake,
        Step::Login,
        Step::Question,
    ];

    /// Says that this has begun.
    pub(super) fn begin(&self, step: Step) {
        self.0.store(step as u8, Relaxed);
    }

    /// What began last.
    pub(super) fn step(&self) -> Step {
        Self::STEPS.get(usize::from(self.0.load(Relaxed))).copied().unwrap_or(Step::Question)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "to the question where the server is",
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

/// A server, and the way to it.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    pub(super) login: Login,
    /// Shared by all endpoints of a limiter.
    pub(super) transport: Arc<Transport>,
}

impl Endpoint {
    /// Another server, with the same login.
    pub(super) fn at(&self, address: Address) -> Self {
        Self { address, ..self.clone() }
    }

    /// Connects and logs in, without a deadline.
    pub(super) async fn open(&self) -> RedisResult<Stream> {
        self.open_with(&Progress::default()).await
    }

    /// The same, telling what is under way.
    pub(super) async fn open_with(&self, progress: &Progress) -> RedisResult<Stream> {
        progress.begin(Step::Credentials);
        let credentials = self.login.credentials().await?;
        let mut stream = self.transport.connect(&self.address, progress).await?;
        progress.begin(Step::Login);
        self.login.log_in(&mut stream, credentials).await?;
        Ok(stream)
    }
}
