//! The mapper: a task of each worker that keeps the map of the cluster up to date, in turns with those of the other workers.
//!
//! Any node answers with a map, even one that is cut off from the others and has missed a failover. So several nodes are queried,
//! and a map that two of them agree on counts. Where no two agree, as when only one node answers, its map is used all the same:
//! `MOVED` corrects it, and a primary without a majority soon refuses to serve, which starts the next query.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::RedisResult;
use tokio::{
    select,
    sync::{Notify, watch},
    time::{sleep, sleep_until, timeout},
};

use crate::store::redis::{
    failure::Failure,
    health::Health,
    topology::cluster::{Cluster, map::Map, turns::Turn},
    transport::{endpoint::Endpoint, patience::Patience, stream::LONGEST_MAP},
};

/// How long one node may take to answer.
const ATTEMPT: Duration = Duration::from_millis(300);

/// How many nodes are queried at first, so that one that is cut off from the others does not decide.
const AT_ONCE: usize = 3;

/// While none has answered, one more is queried after each interval, up to so many at a time.
const STAGGER: Duration = Duration::from_millis(30);
const MOST_AT_ONCE: usize = 16;

/// How long to wait for the other nodes after the first answer.
const GRACE: Duration = Duration::from_millis(50);

/// How long one reading may take.
const LONGEST: Duration = Duration::from_millis(1000);

pub(crate) struct Mapper {
    cluster: Arc<Cluster>,
    health: Arc<Health>,
    /// Notified when a check finds that the map is wrong.
    stale: Arc<Notify>,
}

/// A worker's turn. It ends when this is dropped.
struct Reading<'a> {
    cluster: &'a Cluster,
    started: Instant,
}

impl Mapper {
    pub(crate) fn new(cluster: Arc<Cluster>, health: Arc<Health>, stale: Arc<Notify>) -> Self {
        cluster.turns.join();
        Self { cluster, health, stale }
    }

    /// Reads the map at the start and whenever it is found to be wrong, until the limiter or the worker ends.
    pub(crate) async fn run(self, mut limiter: watch::Receiver<()>) {
        let keep = async {
            self.refresh(Map::is_loaded).await;
            loop {
                self.stale.notified().await;
                let now = Instant::now();
                self.refresh(|map| map.is_of(now)).await;
            }
        };
        select! {
            () = keep => {}
            // The sender sends nothing, so this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Waits for a map that is wanted, and reads it unless another worker does.
    async fn refresh(&self, is_wanted: impl Fn(&Map) -> bool) {
        let mut map = self.cluster.map();
        while !is_wanted(&map.borrow_and_update()) {
            let now = Instant::now();
            match self.cluster.turns.take(now) {
                Turn::Now => self.read(now).await,
                Turn::At(time) => {
                    select! {
                        _ = map.changed() => {}
                        () = sleep_until(time.into()) => {}
                    }
                }
            }
        }
    }

    /// Reads the map for all workers, in the turn that started then.
    async fn read(&self, started: Instant) {
        let reading = Reading { cluster: &self.cluster, started };
        match self.query_nodes().await {
            Ok(map) => {
                if self.cluster.map.send_replace(Arc::new(map.queried_at(reading.started))).is_down() {
                    self.health.recovered();
                }
            }
            Err(failure) => {
                if self.set_down(true) {
                    self.health.failed(&failure);
                }
            }
        }
    }

    /// Sets whether no node answers, and returns whether that is new.
    fn set_down(&self, is_down: bool) -> bool {
        self.cluster.map.send_if_modified(|map| {
            let is_new = map.is_down() != is_down;
            if is_new {
                *map = Arc::new(map.with_down(is_down));
            }
            is_new
        })
    }

    /// Queries several nodes at a time, in random order, until one answers. Then it waits shortly for the others.
    async fn query_nodes(&self) -> Result<Map, Failure> {
        let mut nodes = self.nodes();
        let (mut queries, mut failure) = (FuturesUnordered::new(), Failure::Late(ATTEMPT));
        let first = async {
            queries.extend(nodes.by_ref().take(AT_ONCE).map(query));
            loop {
                select! {
                    Some(answer) = queries.next() => match answer {
                        Ok(map) => return Some(map),
                        Err(reason) => {
                            failure = reason;
                            queries.extend(nodes.next().map(query));
                        }
                    },
                    () = sleep(STAGGER), if !queries.is_empty() => {
                        let is_room = queries.len() < MOST_AT_ONCE;
                        queries.extend(nodes.next().filter(|_| is_room).map(query));
                    }
                    else => return None,
                }
            }
        };
        let Some(Some(first)) = Patience::new(LONGEST).wait(first).await else { return Err(failure) };
        let mut answers = vec![first];
        let others = async {
            while !Map::is_agreed(&answers)
                && let Some(answer) = queries.next().await
            {
                answers.extend(answer);
            }
        };
        // A plain timeout: a busy worker has the first map already.
        let _ = timeout(GRACE, others).await;
        Map::choose(answers).ok_or(failure)
    }

    /// The nodes of the last map and those of the URL, in random order.
    fn nodes(&self) -> impl Iterator<Item = Endpoint> + use<> {
        let mut nodes: Vec<_> = self.cluster.map.borrow().nodes().map(|node| self.cluster.endpoint(node)).collect();
        let seeds = self.cluster.seeds.iter();
        let seeds = seeds.filter(|seed| !nodes.iter().any(|node| node.address == seed.address));
        let seeds: Vec<_> = seeds.cloned().collect();
        nodes.extend(seeds);
        fastrand::shuffle(&mut nodes);
        nodes.into_iter()
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        // No worker is left to notice that the cluster is back.
        if self.cluster.turns.leave() && self.set_down(false) {
            self.health.abandoned();
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.cluster.turns.end(self.started);
        // Wakes the workers that wait, even if this one has read no map.
        self.cluster.map.send_modify(|_| ());
    }
}

async fn query(node: Endpoint) -> Result<Map, Failure> {
    let slots = async {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let slots = node.open().await?.run_with_limit(command, LONGEST_MAP).await?;
        Map::read(slots, node.address.host()) as RedisResult<Map>
    };
    match Patience::new(ATTEMPT).wait(slots).await {
        Some(Ok(map)) if map.is_loaded() => Ok(map),
        Some(Ok(_)) => Err(Failure::NoSlots),
        Some(Err(error)) => Err(Failure::Redis(error)),
        None => Err(Failure::Late(ATTEMPT)),
    }
}
