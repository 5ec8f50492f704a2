//! A worker's connections to the nodes of a cluster.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::store::{
    StoreFailed,
    redis::{
        cache::LocalCache,
        connection::{Connection, handle::ConnectionHandle},
        health::Health,
        redirect::Node,
        settings::Settings,
        topology::{
            cluster::{Cluster, map::Map, mapper::Mapper},
            destination::Destination,
        },
        worker::route::Route,
    },
};

/// The most nodes that a worker connects to: more than a cluster should have. A redirect may name any node.
const MOST_NODES: usize = 2048;

/// One connection for each node that has had a check.
pub(crate) struct NodeConnections {
    cluster: Arc<Cluster>,
    /// The map as this worker read it last. A check looks up its slot here without a lock.
    map: Arc<Map>,
    changes: watch::Receiver<Arc<Map>>,
    /// Notified when the map may be wrong.
    stale_map: Arc<Notify>,
    /// The task that keeps the map.
    mapper: JoinHandle<()>,
    connections: HashMap<Node, ConnectionHandle>,
    /// The nodes that redirects have named since the map was read. A new node has no slots before the first one has moved.
    redirected_to: HashSet<Node>,
    limiter: watch::Receiver<()>,
    runtime: Handle,
}

impl NodeConnections {
    pub(crate) fn start(
        cluster: &Arc<Cluster>,
        health: &Arc<Health>,
        limiter: watch::Receiver<()>,
        runtime: &Handle,
    ) -> Self {
        let (changes, stale_map) = (cluster.map(), Arc::new(Notify::new()));
        let mapper = Mapper::new(Arc::clone(cluster), Arc::clone(health), Arc::clone(&stale_map));
        let mapper = runtime.spawn(mapper.run(limiter.clone()));
        let map = Arc::clone(&changes.borrow());
        Self {
            cluster: Arc::clone(cluster),
            map,
            changes,
            stale_map,
            mapper,
            connections: HashMap::new(),
            redirected_to: HashSet::new(),
            limiter,
            runtime: runtime.clone(),
        }
    }

    /// Whether the tasks have ended.
    pub(crate) fn are_closed(&self) -> bool {
        self.mapper.is_finished()
    }

    /// The map, to wait for.
    pub(crate) fn map(&self) -> watch::Receiver<Arc<Map>> {
        self.cluster.map()
    }

    /// The connection to the node of the route, or else to the primary of the slot; `None` while the map is not loaded.
    pub(crate) fn connection(
        &mut self,
        slot: u16,
        route: &Route,
        settings: &Arc<Settings>,
        cache: &Arc<Mutex<LocalCache>>,
    ) -> Result<Option<&ConnectionHandle>, StoreFailed> {
        self.refresh(&settings.health);
        let node = match &route.node {
            Some(node) => node,
            None => match self.map.primary(slot) {
                Some(node) => node,
                None if self.map.is_loaded() => {
                    self.stale_map.notify_one();
                    return Err(StoreFailed);
                }
                None if self.map.is_down() => return Err(StoreFailed),
                None => return Ok(None),
            },
        };
        if self.connections.get(node).is_none_or(ConnectionHandle::is_closed) {
            if self.connections.len() >= MOST_NODES {
                self.stale_map.notify_one();
                return Err(StoreFailed);
            }
            let (endpoint, map) = (self.cluster.endpoint(node), self.cluster.map());
            let destination = Destination::Node { endpoint, node: node.clone(), map };
            let stale_map = Arc::clone(&self.stale_map);
            let connection = Connection::start(destination, stale_map, settings, cache, &self.limiter, &self.runtime);
            self.connections.insert(node.clone(), connection);
        }
        if route.node.is_some() {
            self.redirected_to.insert(node.clone());
        }
        Ok(self.connections.get(node))
    }

    /// Reads a new map, and ends the connections to nodes that have no slots any more.
    fn refresh(&mut self, health: &Health) {
        if self.changes.has_changed().unwrap_or(false) {
            self.map = Arc::clone(&self.changes.borrow_and_update());
            self.connections.retain(|node, connection| {
                let stays = self.map.has_primary(node) || self.redirected_to.contains(node);
                if !stays && connection.end_report() {
                    health.recovered();
                }
                stays
            });
            self.redirected_to.clear();
        }
    }
}
