//! A worker's task that keeps the map of the cluster, with those of the other workers.
//!
//! Any node tells a map, also one that is cut off from the others and does not know of a failover since. So several are asked, and what two
//! of them agree on is believed. Where no two do, as when one node answers alone, its map is taken all the same: it is corrected by
//! `MOVED`, and, since a primary without the majority of the others soon refuses to serve, by the failure that follows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::store::redis::{
    cluster::{Cluster, map::Map, turns::Turn},
    failure::Failure,
    patience::Patience,
    settings::Settings,
    transport::{endpoint::Endpoint, stream::LONGEST_MAP},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::RedisResult;
use tokio::{
    select,
    sync::{Notify, watch},
    time::{sleep, sleep_until, timeout},
};

/// How long one node may take to tell the slots.
const ATTEMPT: Duration = Duration::from_millis(300);

/// How many nodes are asked at first, so that one that is cut off from the others does not decide.
const AT_ONCE: usize = 3;

/// While none has answered, another one is asked after so long, up to so many at a time.
const STAGGER: Duration = Duration::from_millis(30);
const MOST_AT_ONCE: usize = 16;

/// How long to wait, after the first has answered, for those that are asked, too.
const GRACE: Duration = Duration::from_millis(50);

/// How long to go on asking.
const LONGEST: Duration = Duration::from_millis(1000);

pub(crate) struct Mapper {
    cluster: Arc<Cluster>,
    settings: Arc<Settings>,
    /// CheckReply by whoever finds that the map is wrong.
    stale: Arc<Notify>,
}

/// A worker's turn to read, which ends with this.
struct Reading<'a> {
    cluster: &'a Cluster,
    began: Instant,
}

impl Mapper {
    pub(crate) fn new(cluster: Arc<Cluster>, settings: Arc<Settings>, stale: Arc<Notify>) -> Self {
        cluster.turns.join();
        Self { cluster, settings, stale }
    }

    /// Sees to it that the map is read, at the start and whenever it is found to be wrong, until the limiter or the worker is gone.
    pub(crate) async fn run(self, mut limiter: watch::Receiver<()>) {
        let keep = async {
            self.refresh(Map::is_known).await;
            loop {
                self.stale.notified().await;
                let now = Instant::now();
                self.refresh(|map| map.is_of(now)).await;
            }
        };
        select! {
            () = keep => {}
            // The sender never sends: this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Waits for a map that is as it is wanted, and reads it where no other worker does.
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

    /// Reads the map for all workers, in the turn that began then.
    async fn read(&self, began: Instant) {
        let reading = Reading { cluster: &self.cluster, began };
        match self.ask_nodes().await {
            Ok(map) => {
                if self.cluster.map.send_replace(Arc::new(map.asked_at(reading.began))).is_down() {
                    self.settings.health.recovered();
                }
            }
            Err(failure) => {
                if self.set_down(true) {
                    self.settings.health.failed(&failure);
                }
            }
        }
    }

    /// Says whether no node answers; returns whether that is new.
    fn set_down(&self, is_down: bool) -> bool {
        self.cluster.map.send_if_modified(|map| {
            let is_new = map.is_down() != is_down;
            if is_new {
                *map = Arc::new(map.with_down(is_down));
            }
            is_new
        })
    }

    /// Asks some nodes side by side, each round others, until one answers, and what those say that are asked, too.
    async fn ask_nodes(&self) -> Result<Map, Failure> {
        let mut nodes = self.nodes();
        let (mut asked, mut failure) = (FuturesUnordered::new(), Failure::Late(ATTEMPT));
        let first = async {
            asked.extend(nodes.by_ref().take(AT_ONCE).map(ask));
            loop {
                select! {
                    Some(answer) = asked.next() => match answer {
                        Ok(map) => return Some(map),
                        Err(reason) => {
                            failure = reason;
                            asked.extend(nodes.next().map(ask));
                        }
                    },
                    () = sleep(STAGGER), if !asked.is_empty() => {
                        let is_room = asked.len() < MOST_AT_ONCE;
                        asked.extend(nodes.next().filter(|_| is_room).map(ask));
                    }
                    else => return None,
                }
            }
        };
        let Some(Some(first)) = Patience::new(LONGEST).wait(first).await else { return Err(failure) };
        let mut answers = vec![first];
        let others = async {
            while !Map::is_agreed(&answers)
                && let Some(answer) = asked.next().await
            {
                answers.extend(answer);
            }
        };
        // Not with patience: a busy worker has the first map already.
        let _ = timeout(GRACE, others).await;
        Map::choose(answers).ok_or(failure)
    }

    /// The nodes of the last map and those of the URL, in any order.
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
        // Nobody is there to see whether the cluster is back.
        if self.cluster.turns.leave() && self.set_down(false) {
            self.settings.health.abandoned();
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.cluster.turns.end(self.began);
        // Those who wait look again: the map may be none, if this worker has ended.
        self.cluster.map.send_modify(|_| ());
    }
}

async fn ask(node: Endpoint) -> Result<Map, Failure> {
    let slots = async {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let slots = node.open().await?.ask_at_length(command, LONGEST_MAP).await?;
        Map::read(slots, node.address.host()) as RedisResult<Map>
    };
    match Patience::new(ATTEMPT).wait(slots).await {
        Some(Ok(map)) if map.is_known() => Ok(map),
        Some(Ok(_)) => Err(Failure::NoSlots),
        Some(Err(error)) => Err(Failure::Redis(error)),
        None => Err(Failure::Late(ATTEMPT)),
    }
}
