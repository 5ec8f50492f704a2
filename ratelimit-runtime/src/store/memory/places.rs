//! The places that requests of this process hold, counter by counter.
//!
//! A place is held until it is released, so a counter takes as much memory as its running requests need. No place expires here: the
//! process that would leave one behind takes all of them with it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use smallvec::SmallVec;

use crate::{
    rule::{algorithm::Algorithm, terms::CounterState},
    store::Hit,
};

/// Counters have one of so many locks.
const SHARDS: u64 = 64;

/// The names of the places of each counter, by its hash.
type Shard = HashMap<u64, SmallVec<[u64; 2]>>;

/// Most stores have no rule of concurrency, and no shards.
#[derive(Default)]
pub(super) struct Places(OnceLock<Box<[Mutex<Shard>]>>);

/// The locked shards of some counters.
pub(super) struct LockedPlaces<'a>(SmallVec<[(usize, MutexGuard<'a, Shard>); 1]>);

impl Places {
    /// Locks the counters of hits under rules of concurrency. Shards are locked in ascending order, so that no two requests wait for each
    /// other.
    pub(super) fn lock(&self, hits: &[Hit]) -> LockedPlaces<'_> {
        let places = hits.iter().filter(|hit| hit.terms.algorithm == Algorithm::Concurrency);
        let mut indices: SmallVec<[usize; 2]> = places.map(|hit| index(hit.hash)).collect();
        indices.sort_unstable();
        indices.dedup();
        LockedPlaces(indices.into_iter().filter_map(|index| Some((index, self.shard(index)?))).collect())
    }

    fn shard(&self, index: usize) -> Option<MutexGuard<'_, Shard>> {
        let shards = self.0.get_or_init(|| (0..SHARDS).map(|_| Mutex::default()).collect());
        Some(shards.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LockedPlaces<'_> {
    /// The places of a counter besides that of the hit itself.
    pub(super) fn look(&mut self, hit: &Hit) -> CounterState {
        let held = self.shard(hit).and_then(|shard| shard.get(&hit.hash));
        let others = held.map_or(0, |held| held.iter().filter(|place| **place != hit.place).count());
        CounterState::Places(u32::try_from(others).unwrap_or(u32::MAX))
    }

    /// Enters the place of a hit.
    pub(super) fn take(&mut self, hit: &Hit) {
        if let Some(shard) = self.shard(hit) {
            let held = shard.entry(hit.hash).or_default();
            if !held.contains(&hit.place) {
                held.push(hit.place);
            }
        }
    }

    /// Removes a place.
    pub(super) fn release(&mut self, hit: &Hit, place: u64) {
        let Some(shard) = self.shard(hit) else { return };
        if let Some(held) = shard.get_mut(&hit.hash) {
            held.retain(|known| *known != place);
            if held.is_empty() {
                shard.remove(&hit.hash);
            }
        }
    }

    /// Removes all places of a counter.
    pub(super) fn reset(&mut self, hit: &Hit) {
        if let Some(shard) = self.shard(hit) {
            shard.remove(&hit.hash);
        }
    }

    fn shard(&mut self, hit: &Hit) -> Option<&mut Shard> {
        let (_, shard) = self.0.iter_mut().find(|(locked, _)| *locked == index(hit.hash))?;
        Some(shard)
    }
}

/// The upper bits of a hash choose a shard.
fn index(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS as usize
}
