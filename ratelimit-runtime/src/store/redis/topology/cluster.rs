//! Redis Cluster: its seeds and its map.

pub(crate) mod map;
pub(crate) mod mapper;
pub(crate) mod turns;

use std::sync::Arc;

use tokio::sync::watch;

use crate::store::redis::{
    topology::cluster::{map::Map, turns::Turns},
    transport::endpoint::Endpoint,
};

/// A cluster, shared by all workers of a process.
pub(crate) struct Cluster {
    /// The nodes that the URL names.
    pub(crate) seeds: Vec<Endpoint>,
    map: watch::Sender<Arc<Map>>,
    /// Which worker reads the map.
    turns: Turns,
}

impl Cluster {
    /// There must be at least one seed.
    pub(crate) fn new(seeds: Vec<Endpoint>) -> Self {
        Self { seeds, map: watch::Sender::new(Arc::default()), turns: Turns::default() }
    }

    /// The endpoint of a node, with the login of the seeds.
    pub(crate) fn endpoint(&self, node: &str) -> Endpoint {
        let (host, port) = node.rsplit_once(':').unwrap_or((node, "6379"));
        let seed = &self.seeds[0];
        seed.at(seed.address.at(host, port.parse().unwrap_or(6379)))
    }

    /// The map, and its changes.
    pub(crate) fn map(&self) -> watch::Receiver<Arc<Map>> {
        self.map.subscribe()
    }
}
