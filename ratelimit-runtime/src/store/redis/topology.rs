//! The topology of the store: one server, a sentinel service, or a cluster.

pub(crate) mod cluster;
pub(crate) mod destination;
pub(crate) mod sentinel;
pub(crate) mod url;

use std::sync::Arc;

#[cfg(feature = "rustls")]
use crate::error::Error;
#[cfg(feature = "rustls")]
use crate::store::redis::transport::{tls::Tls, tls_options::TlsOptions};

use crate::store::redis::{
    topology::{cluster::Cluster, sentinel::Sentinel},
    transport::endpoint::Endpoint,
};

/// How the servers of a store belong together.
pub(crate) enum Topology {
    Server(Box<Endpoint>),
    Sentinel(Arc<Sentinel>),
    Cluster(Arc<Cluster>),
}

impl Topology {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Prepares TLS if any of the servers uses it.
    #[cfg(feature = "rustls")]
    pub(crate) fn set_up_tls(&self, options: TlsOptions) -> Result<(), Error> {
        let endpoints = match self {
            Self::Server(server) => std::slice::from_ref(&**server),
            Self::Sentinel(sentinel) => &sentinel.endpoints(),
            Self::Cluster(cluster) => &cluster.seeds,
        };
        match endpoints.iter().find(|endpoint| endpoint.address.is_tls()) {
            Some(endpoint) => drop(endpoint.connector.tls.set(Tls::new(options)?)),
            None if options.is_set() => {
                log::warn!("TLS is set up on the builder, and the store's URL is without TLS; write rediss:// (RL019)");
            }
            None => {}
        }
        Ok(())
    }

    /// The name of the store in the log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Server(server) => server.address.to_string(),
            Self::Sentinel(sentinel) => sentinel.name(),
            Self::Cluster(cluster) => {
                let addresses: Vec<_> = cluster.seeds.iter().map(|seed| seed.address.to_string()).collect();
                format!("cluster of {}", addresses.join(", "))
            }
        }
    }
}
