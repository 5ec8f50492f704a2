//! A server: where it is, and how to connect and log in to it.

use std::{fmt, path::PathBuf, sync::Arc};

use redis::RedisResult;

use super::{
    credentials::Login,
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

    /// Another address of the same kind.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        // An IPv6 address in a URL has brackets, and in what a server says of another it has none.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self::Tcp { host, port, tls: matches!(self, Self::Tcp { tls: true, .. }) }
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
        let mut stream = self.transport.connect(&self.address).await?;
        self.login.log_in(&mut stream).await?;
        Ok(stream)
    }
}
