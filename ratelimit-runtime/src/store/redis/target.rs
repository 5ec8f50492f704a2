//! Where a connection leads: to a server, to the primary that sentinels name, or to a node of a cluster.

use std::{future::pending, sync::Arc};

use crate::store::redis::{
    cluster::map::Map,
    redirect::{Node, Redirect},
    sentinel::Sentinel,
    transport::{address::Address, endpoint::Endpoint},
};
use redis::{RedisError, RedisResult};
use tokio::sync::watch;

/// Where a worker's connection leads.
pub(crate) enum Target {
    Server(Endpoint),
    Primary(Arc<Sentinel>),
    Node { endpoint: Endpoint, node: Node, map: watch::Receiver<Arc<Map>> },
}

impl Target {
    /// Whom to connect to.
    pub(crate) async fn endpoint(&self) -> RedisResult<Endpoint> {
        match self {
            Self::Server(endpoint) | Self::Node { endpoint, .. } => Ok(endpoint.clone()),
            Self::Primary(sentinel) => sentinel.primary().await,
        }
    }

    /// Where else to ask, if that is what a node of a cluster says. Of a server that is alone, it is a failure like any other.
    pub(crate) fn redirect(&self, error: &RedisError) -> Option<Redirect> {
        match self {
            Self::Node { node, .. } => Redirect::of(error, node),
            Self::Server(_) | Self::Primary(_) => None,
        }
    }

    /// Waits until a connection to `address` is one to the wrong server, though that may not say so.
    pub(crate) async fn leave(&self, address: Address) {
        match self {
            Self::Primary(sentinel) => sentinel.wait_for_other_than(&address).await,
            Self::Server(_) | Self::Node { .. } => pending().await,
        }
    }
}
