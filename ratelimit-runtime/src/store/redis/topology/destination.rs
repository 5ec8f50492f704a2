//! The destination of one connection: a server, the primary of a sentinel service, or a node of a cluster.
//!
//! A connection sees no more of the topology than this.

use std::{future::pending, sync::Arc};

use redis::{RedisError, RedisResult};
use tokio::sync::watch;

use crate::store::redis::{
    redirect::{Node, Redirect},
    topology::{cluster::map::Map, sentinel::Sentinel},
    transport::{address::ServerAddress, endpoint::Endpoint},
};

/// Where a connection leads.
pub(crate) enum Destination {
    Server(Endpoint),
    /// The server that is the primary at the time of the attempt to connect.
    Primary(Arc<Sentinel>),
    Node {
        endpoint: Endpoint,
        node: Node,
        map: watch::Receiver<Arc<Map>>,
    },
}

impl Destination {
    /// The endpoint to connect to now.
    pub(crate) async fn endpoint(&self) -> RedisResult<Endpoint> {
        match self {
            Self::Server(endpoint) | Self::Node { endpoint, .. } => Ok(endpoint.clone()),
            Self::Primary(sentinel) => sentinel.primary().await,
        }
    }

    /// The redirect in an error of a cluster's node. For a single server, a redirect is a failure like any other.
    pub(crate) fn redirect(&self, error: &RedisError) -> Option<Redirect> {
        match self {
            Self::Node { node, .. } => Redirect::of(error, node),
            Self::Server(_) | Self::Primary(_) => None,
        }
    }

    /// Waits until another server than `address` is the destination, even if the old one still answers.
    pub(crate) async fn wait_for_other_than(&self, address: ServerAddress) {
        match self {
            Self::Primary(sentinel) => sentinel.wait_for_other_than(&address).await,
            Self::Server(_) | Self::Node { .. } => pending().await,
        }
    }

    /// The node and the map of its cluster.
    pub(crate) fn node(&self) -> Option<(&Node, &watch::Receiver<Arc<Map>>)> {
        match self {
            Self::Node { node, map, .. } => Some((node, map)),
            Self::Server(_) | Self::Primary(_) => None,
        }
    }
}
