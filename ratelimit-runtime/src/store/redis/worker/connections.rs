//! The connections of a worker: one, or one for each node of a cluster.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use crate::store::{
    StoreFailed,
    redis::{
        cache::LocalCache,
        connection::{Connection, handle::ConnectionHandle},
        settings::Settings,
        topology::{Topology, destination::Destination},
        worker::{nodes::NodeConnections, route::Route},
    },
};

/// The connections of a worker.
pub(crate) enum Connections {
    /// All counters are on one server.
    Single(ConnectionHandle),
    Cluster(NodeConnections),
}

impl Connections {
    pub(crate) fn start(
        settings: &Arc<Settings>,
        cache: &Arc<Mutex<LocalCache>>,
        limiter: watch::Receiver<()>,
        runtime: &Handle,
    ) -> Self {
        let single = |destination| {
            let stale_map = Arc::new(Notify::new());
            Self::Single(Connection::start(destination, stale_map, settings, cache, &limiter, runtime))
        };
        match &settings.topology {
            Topology::Server(server) => single(Destination::Server((**server).clone())),
            Topology::Sentinel(sentinel) => single(Destination::Primary(Arc::clone(sentinel))),
            Topology::Cluster(cluster) => {
                Self::Cluster(NodeConnections::start(cluster, &settings.health, limiter, runtime))
            }
        }
    }

    /// Whether their tasks have ended.
    pub(crate) fn are_closed(&self) -> bool {
        match self {
            Self::Single(connection) => connection.is_closed(),
            Self::Cluster(nodes) => nodes.are_closed(),
        }
    }

    /// Whether no check can be sent. The nodes of a cluster fail one by one.
    pub(crate) fn are_down(&self) -> bool {
        matches!(self, Self::Single(connection) if connection.is_down())
    }

    /// The connection for a slot, or for the node that a redirect named; `None` if the map of the cluster is not loaded.
    pub(crate) fn connection(
        &mut self,
        slot: u16,
        route: &Route,
        settings: &Arc<Settings>,
        cache: &Arc<Mutex<LocalCache>>,
    ) -> Result<Option<&ConnectionHandle>, StoreFailed> {
        match self {
            Self::Single(connection) => Ok(Some(connection)),
            Self::Cluster(nodes) => nodes.connection(slot, route, settings, cache),
        }
    }
}
