//! The settings of a limiter over Redis.

use std::{sync::Arc, time::Duration};

use crate::{
    counter::digest::Hashing,
    store::redis::{
        deny_cache::DenyCache, health::Health, names::Names, server_clock::SharedClock,
        transport::credentials::Provider, url::Deployment,
    },
};

/// What the builder was told of Redis.
#[derive(Debug)]
pub(crate) struct Options {
    /// After which time a TCP connection is kept alive; zero for never.
    pub(crate) keepalive: Duration,
    pub(crate) hashing: Hashing,
    pub(crate) credentials: Option<Arc<Provider>>,
    #[cfg(feature = "rustls")]
    pub(crate) tls: crate::store::redis::transport::tls_options::TlsOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(30),
            hashing: Hashing::default(),
            credentials: None,
            #[cfg(feature = "rustls")]
            tls: crate::store::redis::transport::tls_options::TlsOptions::default(),
        }
    }
}

/// What every connection of a limiter shares.
pub(crate) struct Settings {
    pub(crate) deployment: Deployment,
    pub(crate) names: Arc<Names>,
    pub(crate) deadline: Duration,
    pub(crate) health: Health,
    pub(crate) clock: SharedClock,
    /// What all workers refuse by themselves; a cluster has none.
    pub(crate) deny_cache: Option<Arc<DenyCache>>,
}
