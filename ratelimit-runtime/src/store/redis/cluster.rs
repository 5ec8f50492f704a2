//! Redis Cluster: its nodes, and where they say that a check is to go.

pub(crate) mod map;
pub(crate) mod mapper;
pub(crate) mod turns;

use std::sync::Arc;

use crate::store::redis::{cluster::turns::Turns, transport::endpoint::Endpoint};
use tokio::sync::watch;

pub(crate) use self::map::Map;

/// A cluster, as all workers of a process know it.
pub(crate) struct Cluster {
    /// The nodes that the URL names.
    pub(crate) seeds: Vec<Endpoint>,
    map: watch::Sender<Arc<Map>>,
    /// Whose turn it is to read the map.
    turns: Turns,
}

impl Cluster {
    /// `seeds` are one at least.
    pub(crate) fn new(seeds: Vec<Endpoint>) -> Self {
        Self { seeds, map: watch::Sender::new(Arc::default()), turns: Turns::default() }
    }

    /// A node, which is logged in to as the seeds are.
    pub(crate) fn endpoint(&self, node: &str) -> Endpoint {
        let (host, port) = node.rsplit_once(':').unwrap_or((node, "6379"));
        let seed = &self.seeds[0];
        seed.at(seed.address.at(host, port.parse().unwrap_or(6379)))
    }

    /// The map, and whatever becomes of it.
    pub(crate) fn map(&self) -> watch::Receiver<Arc<Map>> {
        self.map.subscribe()
    }
}
