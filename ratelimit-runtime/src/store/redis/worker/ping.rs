//! The ping of a health check: every server that has counters must count one check.

use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::store::{
    StoreFailed,
    keys::KeyNames,
    redis::{
        connection::probe,
        topology::{Topology, cluster::map::Map},
        transport::patience::Patience,
        work::Work,
        worker::{follow_redirects::RouteEnd, registry::Workers},
    },
};

/// How many keys are tried for each node, to find one that the node has, and how many at most. Each key has a random slot. So a node is
/// left out only if it has few slots beside the others, and the search stays short.
const KEYS_FOR_EACH: usize = 200;
const MOST_KEYS: usize = 10_000;

impl Workers {
    /// Has every server count a check of its own counter, within the deadline. In a cluster, these are all primaries.
    pub(crate) async fn ping(&self) -> Result<(), StoreFailed> {
        // Without a runtime there are no timers. In a cluster, the worker must have started, because its mapper reads the map.
        self.with(|_| Ok(()))?;
        let deadline = self.settings.deadline;
        let mut patience = Patience::until(Instant::now() + deadline, deadline / 4);
        patience.wait(self.ping_all()).await.ok_or(StoreFailed)?
    }

    async fn ping_all(&self) -> Result<(), StoreFailed> {
        let names = &self.settings.names;
        let Topology::Cluster(cluster) = &self.settings.topology else {
            return self.ping_one(0, probe::ping(probe::ping_key(names, None))).await;
        };
        let mut map = cluster.map();
        // A clone, since the map cannot change while it is borrowed.
        let known = map.wait_for(|map| map.is_loaded() || map.is_down());
        let map = Arc::clone(&*known.await.map_err(|_| StoreFailed)?);
        if map.is_down() {
            return Err(StoreFailed);
        }
        let pings = pings(names, &map).ok_or(StoreFailed)?;
        try_join_all(pings.into_iter().map(|(slot, work)| self.ping_one(slot, work))).await.map(drop)
    }

    async fn ping_one(&self, slot: u16, work: Work) -> Result<(), StoreFailed> {
        match self.send(slot, work).await? {
            RouteEnd::Decided(_) => Ok(()),
            // A ping has one counter, so it cannot be split.
            RouteEnd::Split => Err(StoreFailed),
        }
    }
}

/// A ping for each primary, with its slot; `None`, if a slot has no primary.
fn pings(names: &KeyNames, map: &Map) -> Option<Vec<(u16, Work)>> {
    let mut left = map.primaries()?;
    let mut pings = Vec::with_capacity(left.len());
    let keys = (KEYS_FOR_EACH * left.len()).min(MOST_KEYS);
    for number in (0_u32..).take(keys) {
        if left.is_empty() {
            break;
        }
        let key = probe::ping_key(names, Some(number));
        let slot = names.slot(&key);
        if map.primary(slot).is_some_and(|primary| left.remove(primary)) {
            pings.push((slot, probe::ping(key)));
        }
    }
    Some(pings)
}
