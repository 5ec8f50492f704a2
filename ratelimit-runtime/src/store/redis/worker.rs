//! A worker: the local cache and the connections of one limiter on one thread.
//!
//! A check that the cache can decide ends here. Any other becomes work for a connection.

pub(crate) mod check_in_slots;
pub(crate) mod connections;
pub(crate) mod follow_redirects;
pub(crate) mod nodes;
pub(crate) mod ping;
pub(crate) mod registry;
pub(crate) mod renew;
pub(crate) mod renewals;
pub(crate) mod route;
pub(crate) mod slots;

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use smallvec::smallvec;
use tokio::{
    runtime::{self, Handle},
    sync::{oneshot, watch},
};

use crate::{
    counter::Counter,
    decision::outcome::Outcomes,
    store::{
        CounterKey, Hit, Hits, StoreFailed,
        redis::{
            cache::{LocalCache, deny_cache::DenyCacheView, leases::Leases},
            pipeline::check::CheckAnswer,
            settings::Settings,
            topology::cluster::map::Map,
            work::{Delivery, KeyedHit, KeyedHits, Refund, Work},
            worker::{connections::Connections, renewals::Renewals, route::Route, slots::SlotHits},
        },
    },
};

/// The connections of a limiter on one thread. A thread may run several runtimes, one after another or one inside another. The
/// tasks of a worker belong to one of them.
pub(crate) struct Worker {
    store: u64,
    runtime: Handle,
    settings: Arc<Settings>,
    cache: Arc<Mutex<LocalCache>>,
    connections: Connections,
    renewals: Arc<Renewals>,
}

/// What a worker does with a check.
pub(crate) enum WorkerCheck {
    /// The local cache has decided it.
    Decided(Outcomes),
    /// It is queued; the answer will come here.
    Queued(oneshot::Receiver<CheckAnswer>),
    /// It is for a cluster, in each of these slots.
    InSlots(Vec<SlotHits>),
}

impl Worker {
    /// Starts the tasks that own this thread's connections.
    pub(crate) fn start(store: u64, settings: Arc<Settings>, limiter: watch::Receiver<()>, runtime: Handle) -> Self {
        let deny_cache = settings.deny_cache.as_ref().map(|cache| DenyCacheView::new(Arc::clone(cache)));
        let cache = LocalCache::new(Leases::new(settings.deadline), deny_cache);
        let cache = Arc::new(Mutex::new(cache));
        let connections = Connections::start(&settings, &cache, limiter, &runtime);
        Self { store, runtime, settings, cache, connections, renewals: Arc::default() }
    }

    pub(crate) fn is_of(&self, store: u64, runtime: runtime::Id) -> bool {
        self.store == store && self.runtime.id() == runtime
    }

    /// Whether its tasks have ended, because their limiter or their runtime has.
    pub(crate) fn is_closed(&self) -> bool {
        self.connections.are_closed()
    }

    /// Decides a check by the local cache, or queues it, or returns its slots in a cluster. `counters` are those of `hits`.
    pub(crate) fn check(&mut self, hits: &Hits, counters: &[Counter<'_>]) -> Result<WorkerCheck, StoreFailed> {
        if self.connections.are_down() {
            return Err(StoreFailed);
        }
        let now = Instant::now();
        let mut cache = self.cache.lock();
        let decided = cache.decide(hits, now);
        let mut keyed_hits = KeyedHits::new();
        if decided.is_none() {
            // One rule without a lease sends every check to Redis. Leases for the others would save nothing.
            let is_leased = hits.iter().all(|hit| hit.lease > 1);
            for (hit, counter) in hits.iter().zip(counters) {
                let tokens = if is_leased { cache.leases.choose_tokens(hit, now) } else { hit.terms.cost };
                keyed_hits.push(KeyedHit {
                    hit: *hit,
                    key: self.settings.names.key(counter),
                    tokens,
                    is_refill: false,
                });
            }
        }
        let (refunds, refills) = (cache.leases.take_refunds(now), cache.leases.take_refills());
        drop(cache);
        self.send_unattended(refunds, refills, now);
        if let Some(outcomes) = decided {
            return Ok(WorkerCheck::Decided(outcomes));
        }
        match &self.connections {
            Connections::Single(connection) => {
                connection.send(Work::Count(keyed_hits), 0, Delivery::Batched).map(WorkerCheck::Queued)
            }
            Connections::Cluster(_) => Ok(WorkerCheck::InSlots(SlotHits::split(keyed_hits, |key| self.slot(key)))),
        }
    }

    /// Sends work that no request waits for. If a refund is lost, so is a part of the limit, until the window ends.
    fn send_unattended(&mut self, refunds: Vec<Refund>, refills: Vec<KeyedHit>, now: Instant) {
        for refund in refunds {
            let slot = self.slot(&refund.key);
            drop(self.send(slot, &Route::default(), Work::Refund(refund)));
        }
        for refill in refills {
            let slot = self.slot(&refill.key);
            drop(self.send(slot, &Route::default(), Work::Count(smallvec![refill])));
        }
        if self.settings.deny_cache.as_ref().is_some_and(|cache| cache.takes_mark_turn(now)) {
            drop(self.send(0, &Route::default(), Work::ReadMark));
        }
    }

    /// Queues work for the node that has the slot, or for the node of the route; `None` if the map of the cluster is not loaded.
    pub(crate) fn send(
        &mut self,
        slot: u16,
        route: &Route,
        work: Work,
    ) -> Result<Option<oneshot::Receiver<CheckAnswer>>, StoreFailed> {
        let Some(connection) = self.connections.connection(slot, route, &self.settings, &self.cache)? else {
            return Ok(None);
        };
        connection.send(work, slot, route.delivery).map(Some)
    }

    /// Makes invalid what this worker remembers of a counter.
    pub(crate) fn forget(&self, hit: &Hit, is_reset: bool) {
        self.cache.lock().leases.forget(hit.hash, is_reset);
    }

    /// The places that requests of this worker hold.
    pub(crate) fn renewals(&self) -> &Arc<Renewals> {
        &self.renewals
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The map of the cluster, to wait for.
    pub(crate) fn map(&self) -> Option<watch::Receiver<Arc<Map>>> {
        match &self.connections {
            Connections::Single(_) => None,
            Connections::Cluster(nodes) => Some(nodes.map()),
        }
    }

    /// The slot of a counter. Outside a cluster all counters have the same one.
    pub(crate) fn slot(&self, key: &CounterKey) -> u16 {
        match &self.connections {
            Connections::Single(_) => 0,
            Connections::Cluster(_) => self.settings.names.slot(key),
        }
    }
}
