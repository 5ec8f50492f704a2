//! A worker's end of its connections: whom to ask, and what need not be asked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use tokio::{
    runtime::{self, Handle},
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use super::{
    Settings, StoreFailed,
    batch::{Answer, Ask, Asks, Check, Passage, Work},
    cluster::{Cluster, Map, Mapper, Node},
    denials::View,
    known::Known,
    lane::Lane,
    link::Link,
    routing::Route,
    session::Place,
    url::Deployment,
};
use crate::{
    counter::Counter,
    decision::outcome::Outcomes,
    store::{CounterKey, Hit, Hits},
};

/// How many nodes of a cluster a worker has connections to at the most: more than a cluster should have. Redirects may name any.
const MOST_NODES: usize = 2048;

/// The connections of a limiter on one thread. A thread may run one runtime after another, or one within another: tasks
/// are of one of them.
pub(super) struct Worker {
    store: u64,
    runtime: Handle,
    settings: Arc<Settings>,
    limiter: watch::Receiver<()>,
    known: Arc<Mutex<Known>>,
    routes: Routes,
}

enum Routes {
    /// All counters are on one server.
    One(Wire),
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
    wires: HashMap<Node, Wire>,
    /// Those that redirects have named since the map was read: a node that is new has no slots before the first has arrived.
    named: HashSet<Node>,
}

/// The way to the task that owns a connection.
struct Wire(Arc<Lane>);

/// What a worker does with a request.
pub(super) enum Begun {
    /// Redis need not be asked.
    Decided(Outcomes),
    Asked(oneshot::Receiver<Answer>),
    /// Redis is to be asked in each of these slots.
    InSlots(Vec<Part>),
}

/// The hits of a request whose counters are in one slot.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) slot: u16,
    /// Which of the request's hits.
    pub(super) hits: SmallVec<[usize; 1]>,
    pub(super) asks: Asks,
}

impl Part {
    pub(super) fn work(&self) -> Work {
        Work::Count(self.asks.clone())
    }
}

impl Worker {
    /// Starts the tasks that own this thread's connections.
    pub(super) fn start(store: u64, settings: Arc<Settings>, limiter: watch::Receiver<()>, runtime: Handle) -> Self {
        let denials = settings.denials.as_ref().map(|denials| View::new(Arc::clone(denials)));
        let known = Arc::new(Mutex::new(Known::new(settings.deadline, denials)));
        let start = |place| Wire::start(place, Notify::new().into(), &settings, &known, &limiter, &runtime);
        let routes = match &settings.deployment {
            Deployment::Server(server) => Routes::One(start(Place::Server((**server).clone()))),
            Deployment::Sentinel(sentinel) => Routes::One(start(Place::Primary(Arc::clone(sentinel)))),
            Deployment::Cluster(cluster) => Routes::Cluster(Nodes::start(cluster, &settings, &limiter, &runtime)),
        };
        Self { store, runtime, settings, limiter, known, routes }
    }

    pub(super) fn is_of(&self, store: u64, runtime: runtime::Id) -> bool {
        self.store == store && self.runtime.id() == runtime
    }

    /// Whether its tasks have ended, because their limiter or their runtime has.
    pub(super) fn is_closed(&self) -> bool {
        match &self.routes {
            Routes::One(wire) => wire.0.is_closed(),
            Routes::Cluster(nodes) => nodes.mapper.is_finished(),
        }
    }

    /// Decides a request, if it can; else asks, or says whom to ask. `counters` are those of `hits`.
    pub(super) fn begin(&mut self, hits: &Hits, counters: &[Counter<'_>]) -> Result<Begun, StoreFailed> {
        if let Routes::One(wire) = &self.routes
            && wire.0.is_down()
        {
            return Err(StoreFailed);
        }
        let now = Instant::now();
        let mut known = self.known.lock();
        let decided = known.decide(hits, now).or_else(|| known.refuse(hits, now));
        let mut asks = Asks::new();
        if decided.is_none() {
            // Where a rule has no lease, Redis is asked anyway, and tokens for the others would not spare it that.
            let is_leased = hits.iter().all(|hit| hit.lease > 1);
            for (hit, counter) in hits.iter().zip(counters) {
                let lot = if is_leased { known.choose_lot(hit, now) } else { hit.terms.cost };
                asks.push(Ask { hit: *hit, key: self.settings.names.key(counter), lot, is_refill: false });
            }
        }
        let (refunds, refills) = (known.refunds(now), known.refills());
        drop(known);
        // Nobody waits for these. If what is given back is lost, so is a part of the limit, until the window ends.
        for refund in refunds {
            let slot = self.slot(&refund.key);
            drop(self.send(slot, &Route::default(), Work::GiveBack(refund)));
        }
        for ask in refills {
            let slot = self.slot(&ask.key);
            drop(self.send(slot, &Route::default(), Work::Count(smallvec![ask])));
        }
        if self.settings.denials.as_ref().is_some_and(|denials| denials.asks(now)) {
            drop(self.send(0, &Route::default(), Work::ReadMark));
        }
        if let Some(outcomes) = decided {
            return Ok(Begun::Decided(outcomes));
        }
        match &self.routes {
            Routes::One(wire) => wire.send(Work::Count(asks), 0, Passage::Usual).map(Begun::Asked),
            Routes::Cluster(_) => Ok(Begun::InSlots(self.parts(asks))),
        }
    }

    /// Sends a check to the node that has the slot, or to the one that it was sent on to; `None` if it is not yet known
    /// which that is.
    pub(super) fn send(
        &mut self,
        slot: u16,
        route: &Route,
        work: Work,
    ) -> Result<Option<oneshot::Receiver<Answer>>, StoreFailed> {
        let wire = match &mut self.routes {
            Routes::One(wire) => wire,
            Routes::Cluster(nodes) => {
                nodes.refresh(&self.settings);
                let Nodes { cluster, map, stale, wires, named, .. } = nodes;
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
                if wires.get(node).is_none_or(|wire| wire.0.is_closed()) {
                    if wires.len() >= MOST_NODES {
                        stale.notify_one();
                        return Err(StoreFailed);
                    }
                    let place =
                        Place::Node { endpoint: cluster.endpoint(node), node: node.clone(), map: cluster.map() };
                    let stale = Arc::clone(stale);
                    let wire = Wire::start(place, stale, &self.settings, &self.known, &self.limiter, &self.runtime);
                    wires.insert(node.clone(), wire);
                }
                if route.node.is_some() {
                    named.insert(node.clone());
                }
                &wires[node]
            }
        };
        wire.send(work, slot, route.passage).map(Some)
    }

    /// Believes no longer what it knows of a counter.
    pub(super) fn forget(&self, hit: &Hit, is_reset: bool) {
        self.known.lock().forget(hit.hash, is_reset);
    }

    /// The map of the cluster, to wait for.
    pub(super) fn map(&self) -> Option<watch::Receiver<Arc<Map>>> {
        match &self.routes {
            Routes::One(_) => None,
            Routes::Cluster(nodes) => Some(nodes.cluster.map()),
        }
    }

    /// The hits by their slots.
    fn parts(&self, asks: Asks) -> Vec<Part> {
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
    pub(super) fn slot(&self, key: &CounterKey) -> u16 {
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
        Self { cluster: Arc::clone(cluster), map, changes, stale, mapper, wires: HashMap::new(), named: HashSet::new() }
    }

    /// Takes in what became of the map, and ends the connections to nodes that have no slots any more.
    fn refresh(&mut self, settings: &Settings) {
        if self.changes.has_changed().unwrap_or(false) {
            self.map = Arc::clone(&self.changes.borrow_and_update());
            self.wires.retain(|node, wire| {
                let stays = self.map.has_primary(node) || self.named.contains(node);
                // Nobody waits for it any more.
                if !stays && wire.0.set_reported(false) {
                    settings.health.recovered();
                }
                stays
            });
            self.named.clear();
        }
    }
}

impl Wire {
    fn start(
        place: Place,
        stale: Arc<Notify>,
        settings: &Arc<Settings>,
        known: &Arc<Mutex<Known>>,
        limiter: &watch::Receiver<()>,
        runtime: &Handle,
    ) -> Self {
        let lane = Arc::new(Lane::new());
        let link = Link::new(Arc::clone(settings), place, Arc::clone(&lane), Arc::clone(known), stale);
        runtime.spawn(link.run(limiter.clone()));
        Self(lane)
    }

    fn send(&self, work: Work, slot: u16, passage: Passage) -> Result<oneshot::Receiver<Answer>, StoreFailed> {
        let (reply, answer) = oneshot::channel();
        self.0.push(Check { work, slot, passage, reply })?;
        Ok(answer)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.close();
    }
}
