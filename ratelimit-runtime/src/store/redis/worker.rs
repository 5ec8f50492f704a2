//! A worker's end of its connections: whom to ask, and what need not be asked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use smallvec::smallvec;
use tokio::{
    runtime::{self, Handle},
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    counter::Counter,
    decision::outcome::Outcomes,
    store::{
        CounterKey, Hit, Hits,
        redis::{
            batch::Check,
            cluster::{Cluster, map::Map, mapper::Mapper},
            connection::Connection,
            deny_cache::View,
            failure::StoreFailed,
            local_cache::LocalCache,
            queue::Queue,
            redirect::Node,
            route::Route,
            settings::Settings,
            target::Target,
            url::Deployment,
            work::{Answer, KeyedHit, KeyedHits, Part, SendMode, Work},
        },
    },
};

/// How many nodes of a cluster a worker has connections to at the most: more than a cluster should have. Redirects may name any.
const MOST_NODES: usize = 2048;

/// The connections of a limiter on one thread. A thread may run one runtime after another, or one within another: tasks
/// are of one of them.
pub(crate) struct Worker {
    store: u64,
    runtime: Handle,
    settings: Arc<Settings>,
    limiter: watch::Receiver<()>,
    cache: Arc<Mutex<LocalCache>>,
    routes: Routes,
}

enum Routes {
    /// All counters are on one server.
    One(ConnectionHandle),
    Cluster(Nodes),
}

/// A worker's connections to the nodes of a cluster.
struct Nodes {
    cluster: Arc<Cluster>,
    /// The map as this worker saw it last, so that a check looks into it without a lock.
    map: Arc<Map>,
    changes: watch::Receiver<Arc<Map>>,
    stale: Arc<Notify>,
    mapper: JoinHandle<()>,
    connections: HashMap<Node, ConnectionHandle>,
    /// Those that redirects have named since the map was read: a node that is new has no slots before the first has arrived.
    named: HashSet<Node>,
}

/// The way to the task that owns a connection.
struct ConnectionHandle(Arc<Queue>);

/// What a worker does with a request.
pub(crate) enum WorkerStep {
    /// Redis need not be asked.
    Decided(Outcomes),
    Pending(oneshot::Receiver<Answer>),
    /// Redis is to be asked in each of these slots.
    InSlots(Vec<Part>),
}

impl Worker {
    /// Starts the tasks that own this thread's connections.
    pub(crate) fn start(store: u64, settings: Arc<Settings>, limiter: watch::Receiver<()>, runtime: Handle) -> Self {
        let deny_cache = settings.deny_cache.as_ref().map(|deny_cache| View::new(Arc::clone(deny_cache)));
        let cache = Arc::new(Mutex::new(LocalCache::new(settings.deadline, deny_cache)));
        let start =
            |target| ConnectionHandle::start(target, Notify::new().into(), &settings, &cache, &limiter, &runtime);
        let routes = match &settings.deployment {
            Deployment::Server(server) => Routes::One(start(Target::Server((**server).clone()))),
            Deployment::Sentinel(sentinel) => Routes::One(start(Target::Primary(Arc::clone(sentinel)))),
            Deployment::Cluster(cluster) => Routes::Cluster(Nodes::start(cluster, &settings, &limiter, &runtime)),
        };
        Self { store, runtime, settings, limiter, cache, routes }
    }

    pub(crate) fn is_of(&self, store: u64, runtime: runtime::Id) -> bool {
        self.store == store && self.runtime.id() == runtime
    }

    /// Whether its tasks have ended, because their limiter or their runtime has.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.routes {
            Routes::One(connection) => connection.0.is_closed(),
            Routes::Cluster(nodes) => nodes.mapper.is_finished(),
        }
    }

    /// Decides a request, if it can; else asks, or says whom to ask. `counters` are those of `hits`.
    pub(crate) fn begin(&mut self, hits: &Hits, counters: &[Counter<'_>]) -> Result<WorkerStep, StoreFailed> {
        if let Routes::One(connection) = &self.routes
            && connection.0.is_down()
        {
            return Err(StoreFailed);
        }
        let now = Instant::now();
        let mut cache = self.cache.lock();
        let decided = cache.decide(hits, now).or_else(|| cache.refuse(hits, now));
        let mut asks = KeyedHits::new();
        if decided.is_none() {
            // Where a rule has no lease, Redis is asked anyway, and tokens for the others would not spare it that.
            let is_leased = hits.iter().all(|hit| hit.lease > 1);
            for (hit, counter) in hits.iter().zip(counters) {
                let take = if is_leased { cache.choose_take(hit, now) } else { hit.terms.cost };
                asks.push(KeyedHit { hit: *hit, key: self.settings.names.key(counter), take, is_refill: false });
            }
        }
        let (refunds, refills) = (cache.refunds(now), cache.refills());
        drop(cache);
        // Nobody waits for these. If what is refunded is lost, so is a part of the limit, until the window ends.
        for refund in refunds {
            let slot = self.slot(&refund.key);
            drop(self.send(slot, &Route::default(), Work::Refund(refund)));
        }
        for ask in refills {
            let slot = self.slot(&ask.key);
            drop(self.send(slot, &Route::default(), Work::Count(smallvec![ask])));
        }
        if self.settings.deny_cache.as_ref().is_some_and(|deny_cache| deny_cache.asks(now)) {
            drop(self.send(0, &Route::default(), Work::ReadMark));
        }
        if let Some(outcomes) = decided {
            return Ok(WorkerStep::Decided(outcomes));
        }
        match &self.routes {
            Routes::One(connection) => connection.send(Work::Count(asks), 0, SendMode::Usual).map(WorkerStep::Pending),
            Routes::Cluster(_) => Ok(WorkerStep::InSlots(self.parts(asks))),
        }
    }

    /// Sends a check to the node that has the slot, or to the one that it was sent on to; `None` if it is not yet known
    /// which that is.
    pub(crate) fn send(
        &mut self,
        slot: u16,
        route: &Route,
        work: Work,
    ) -> Result<Option<oneshot::Receiver<Answer>>, StoreFailed> {
        let connection = match &mut self.routes {
            Routes::One(connection) => connection,
            Routes::Cluster(nodes) => {
                nodes.refresh(&self.settings);
                let Nodes { cluster, map, stale, connections, named, .. } = nodes;
                let node = match &route.node {
                    Some(node) => node,
                    None => match map.primary(slot) {
                        Some(node) => node,
                        None if map.is_known() => {
                            stale.notify_one();
                            return Err(StoreFailed);
                        }
                        None if map.is_down() => return Err(StoreFailed),
                        None => return Ok(None),
                    },
                };
                if connections.get(node).is_none_or(|connection| connection.0.is_closed()) {
                    if connections.len() >= MOST_NODES {
                        stale.notify_one();
                        return Err(StoreFailed);
                    }
                    let target =
                        Target::Node { endpoint: cluster.endpoint(node), node: node.clone(), map: cluster.map() };
                    let stale = Arc::clone(stale);
                    let connection = ConnectionHandle::start(
                        target,
                        stale,
                        &self.settings,
                        &self.cache,
                        &self.limiter,
                        &self.runtime,
                    );
                    connections.insert(node.clone(), connection);
                }
                if route.node.is_some() {
                    named.insert(node.clone());
                }
                &connections[node]
            }
        };
        connection.send(work, slot, route.mode).map(Some)
    }

    /// Believes no longer what it knows of a counter.
    pub(crate) fn forget(&self, hit: &Hit, is_reset: bool) {
        self.cache.lock().forget(hit.hash, is_reset);
    }

    /// The map of the cluster, to wait for.
    pub(crate) fn map(&self) -> Option<watch::Receiver<Arc<Map>>> {
        match &self.routes {
            Routes::One(_) => None,
            Routes::Cluster(nodes) => Some(nodes.cluster.map()),
        }
    }

    /// The hits by their slots.
    fn parts(&self, asks: KeyedHits) -> Vec<Part> {
        let mut parts = Vec::<Part>::new();
        for (index, ask) in asks.into_iter().enumerate() {
            let slot = self.slot(&ask.key);
            match parts.iter_mut().find(|part| part.slot == slot) {
                Some(part) => {
                    part.hits.push(index);
                    part.asks.push(ask);
                }
                None => parts.push(Part { slot, hits: smallvec![index], asks: smallvec![ask] }),
            }
        }
        parts
    }

    /// The slot of a counter; always the same outside a cluster.
    pub(crate) fn slot(&self, key: &CounterKey) -> u16 {
        match &self.routes {
            Routes::One(_) => 0,
            Routes::Cluster(_) => self.settings.names.slot(key),
        }
    }
}

impl Nodes {
    fn start(
        cluster: &Arc<Cluster>,
        settings: &Arc<Settings>,
        limiter: &watch::Receiver<()>,
        runtime: &Handle,
    ) -> Self {
        let (changes, stale) = (cluster.map(), Arc::new(Notify::new()));
        let mapper = Mapper::new(Arc::clone(cluster), Arc::clone(settings), Arc::clone(&stale));
        let mapper = runtime.spawn(mapper.run(limiter.clone()));
        let map = Arc::clone(&changes.borrow());
        Self {
            cluster: Arc::clone(cluster),
            map,
            changes,
            stale,
            mapper,
            connections: HashMap::new(),
            named: HashSet::new(),
        }
    }

    /// Takes in what became of the map, and ends the connections to nodes that have no slots any more.
    fn refresh(&mut self, settings: &Settings) {
        if self.changes.has_changed().unwrap_or(false) {
            self.map = Arc::clone(&self.changes.borrow_and_update());
            self.connections.retain(|node, connection| {
                let stays = self.map.has_primary(node) || self.named.contains(node);
                // Nobody waits for it any more.
                if !stays && connection.0.set_reported(false) {
                    settings.health.recovered();
                }
                stays
            });
            self.named.clear();
        }
    }
}

impl ConnectionHandle {
    fn start(
        target: Target,
        stale: Arc<Notify>,
        settings: &Arc<Settings>,
        cache: &Arc<Mutex<LocalCache>>,
        limiter: &watch::Receiver<()>,
        runtime: &Handle,
    ) -> Self {
        let queue = Arc::new(Queue::new());
        let connection = Connection::new(Arc::clone(settings), target, Arc::clone(&queue), Arc::clone(cache), stale);
        runtime.spawn(connection.run(limiter.clone()));
        Self(queue)
    }

    fn send(&self, work: Work, slot: u16, mode: SendMode) -> Result<oneshot::Receiver<Answer>, StoreFailed> {
        let (reply, answer) = oneshot::channel();
        self.0.push(Check { work, slot, mode, reply })?;
        Ok(answer)
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        self.0.close();
    }
}
