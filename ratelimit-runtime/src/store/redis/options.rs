//! The builder's settings for Redis.

use std::{sync::Arc, time::Duration};

use crate::store::redis::transport::credentials::Provider;
#[cfg(feature = "rustls")]
use crate::store::redis::transport::tls_options::TlsOptions;

/// What an application may set for Redis besides the URL.
#[derive(Debug)]
pub(crate) struct Options {
    /// The idle time after which a TCP connection is kept alive; zero for never.
    pub(crate) keepalive: Duration,
    pub(crate) credentials: Option<Arc<Provider>>,
    #[cfg(feature = "rustls")]
    pub(crate) tls: TlsOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(30),
            credentials: None,
            #[cfg(feature = "rustls")]
            tls: TlsOptions::default(),
        }
    }
}
