//! Counters in this process: exact under concurrent requests, bounded, without a thread that cleans up.
//!
//! A flat table of sets. A counter can be in one set only, which its hash tells, in any of its 16 slots; a
//! counter whose window is over leaves its slot to the next that comes by. Each set has a lock, and a request
//! with several rules holds all of its sets' locks, taken in their order, so that its decision is one.
//!
//! The slots are pairs of atomics for the sake of their allocation alone: safe code gets them as zeroed pages
//! that the operating system hands out as they are touched, so a table for a million counters costs a small
//! application next to nothing.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::{
    key::Counter,
    store::{Found, Hit, Outcome, Outcomes, decide, decide_one},
    window,
};

const WAYS: usize = 16;

/// Slots for each counter of the capacity. At one half, fewer than one set in two hundred has more counters
/// than slots when as many are live as the capacity says.
const SLOTS_PER_COUNTER: usize = 2;

/// A quarter of a billion counters take 9 GB.
const LARGEST_CAPACITY: usize = 1 << 28;

pub(crate) struct MemoryStore {
    /// Secret: without it, nobody can choose keys that fall into one set, or are taken for one another.
    hasher: RandomState,
    locks: Box<[Mutex<()>]>,
    /// For each slot the counter's hash, then its window's end (upper 32 bits) and its count (lower 32 bits).
    words: Box<[AtomicU64]>,
}

/// Where a counter belongs.
#[derive(Clone, Copy)]
struct Place {
    set: usize,
    /// The whole hash: two counters of a full table are taken for one another once in some forty million tables.
    hash: u64,
}

/// The slot of a counter, or the one that it would take over, and what was counted.
#[derive(Clone, Copy)]
struct Look {
    slot: usize,
    found: Found,
}

impl MemoryStore {
    /// A table for `capacity` counters, rounded up to a power of two of sets.
    pub(crate) fn new(capacity: usize) -> Self {
        let slots = capacity.clamp(1, LARGEST_CAPACITY) * SLOTS_PER_COUNTER;
        let mut sets = slots.div_ceil(WAYS).next_power_of_two();
        let words = loop {
            match bytemuck::try_zeroed_slice_box(sets * WAYS * 2) {
                Ok(words) => break words,
                // Where there is not so much memory, a smaller table has to do.
                Err(()) => sets = (sets / 2).max(1),
            }
        };
        let locks = std::iter::repeat_with(Mutex::default).take(sets).collect();
        Self { hasher: RandomState::new(), locks, words }
    }

    /// Checks and counts one request at `now`, the time since the epoch.
    pub(crate) fn hit(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        let now = now.as_secs();
        match hits {
            [hit] => Outcomes::from_buf([self.hit_one(now, hit)]),
            _ => self.hit_all(now, hits),
        }
    }

    /// One rule, as most handlers have: one lock, and nothing to gather.
    fn hit_one(&self, now: u64, hit: &Hit) -> Outcome {
        let place = self.place(&hit.counter);
        let _locked = self.locks[place.set].lock();
        let look = self.look(place, hit.limit.per, now);
        let (outcome, counts) = decide_one(hit, &look.found, now);
        if counts {
            self.count(look, place.hash);
        }
        outcome
    }

    /// Raises a counter to `used` in the window that ends at `window_end`, if it holds less.
    #[cfg(feature = "redis")]
    pub(crate) fn raise(&self, now: Duration, hit: &Hit, used: u32, window_end: u64) {
        let place = self.place(&hit.counter);
        let _locked = self.locks[place.set].lock();
        let look = self.look(place, hit.limit.per, now.as_secs());
        if window_end > look.found.window_end || (window_end == look.found.window_end && used > look.found.used) {
            self.write(look.slot, place.hash, Found { used, window_end });
        }
    }

    fn hit_all(&self, now: u64, hits: &[Hit]) -> Outcomes {
        let places: SmallVec<[Place; 2]> = hits.iter().map(|hit| self.place(&hit.counter)).collect();
        let _locked = self.lock(&places);
        let look = |index: usize| self.look(places[index], hits[index].limit.per, now);
        let found: SmallVec<[Found; 2]> = (0..hits.len()).map(|index| look(index).found).collect();
        let decision = decide(hits, &found, now);
        for index in (0..hits.len()).filter(|&index| decision.counts(index)) {
            // Looked at again: a counter that was new may just have been given the slot that this one would take.
            self.count(look(index), places[index].hash);
        }
        decision.outcomes
    }

    fn place(&self, counter: &Counter) -> Place {
        let hash = self.hasher.hash_one(counter);
        // Zero marks a slot that was never used.
        Place { set: hash as usize & (self.locks.len() - 1), hash: hash.max(1) }
    }

    /// Locks the sets of `places`, each once and in ascending order, so that no two requests wait for each other.
    fn lock(&self, places: &[Place]) -> SmallVec<[MutexGuard<'_, ()>; 2]> {
        let mut sets: SmallVec<[usize; 2]> = places.iter().map(|place| place.set).collect();
        sets.sort_unstable();
        sets.dedup();
        sets.iter().map(|&set| self.locks[set].lock()).collect()
    }

    /// Finds a counter in its locked set, or the slot that it would take over.
    fn look(&self, place: Place, per: u32, now: u64) -> Look {
        let slots = place.set * WAYS..(place.set + 1) * WAYS;
        for slot in slots.clone() {
            if self.words[2 * slot].load(Relaxed) == place.hash {
                let (window_end, used) = self.read(slot);
                let left = seconds_left(window_end, now);
                // A clock that is set back a little, as clocks are, stays in the window that it had reached. One
                // that is set back by more than a window starts anew, or clients would wait for it to catch up.
                let live = 0 < left && left <= 2 * i64::from(per);
                let found = match live {
                    true => Found { used, window_end: now.saturating_add_signed(left) },
                    false => Found { used: 0, window_end: window::end(now, per) },
                };
                return Look { slot, found };
            }
        }
        let slot = slots.min_by_key(|&slot| self.worth(slot, now)).unwrap_or_default();
        Look { slot, found: Found { used: 0, window_end: window::end(now, per) } }
    }

    /// What is lost with a slot's counter: nothing once its window is over, else the requests that it has counted.
    fn worth(&self, slot: usize, now: u64) -> u32 {
        let (window_end, used) = self.read(slot);
        if seconds_left(window_end, now) > 0 { used } else { 0 }
    }

    fn read(&self, slot: usize) -> (u32, u32) {
        let word = self.words[2 * slot + 1].load(Relaxed);
        ((word >> 32) as u32, word as u32)
    }

    /// Counts one request in a slot that was looked at under the same lock.
    fn count(&self, look: Look, hash: u64) {
        let Found { used, window_end } = look.found;
        self.write(look.slot, hash, Found { used: used.saturating_add(1), window_end });
    }

    fn write(&self, slot: usize, hash: u64, found: Found) {
        let word = u64::from(found.window_end as u32) << 32 | u64::from(found.used);
        self.words[2 * slot].store(hash, Relaxed);
        self.words[2 * slot + 1].store(word, Relaxed);
    }
}

/// The time from `now` to the end of a window, of which the lower 32 bits were kept: windows are shorter than
/// half of that range, so the sign of the difference tells the past from the future.
fn seconds_left(window_end: u32, now: u64) -> i64 {
    i64::from(window_end.wrapping_sub(now as u32) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{Counter, Name, Text, Who},
        policy::Limit,
    };

    fn hit(key: &str, limit: u32, per: u32) -> Hit {
        let counter = Counter {
            family: 0,
            key: Name::Given(Text::new(key.as_bytes())),
            per,
            ordinal: 0,
            scope: smallvec::smallvec![Who::Global],
        };
        Hit { counter, limit: Limit { limit, per }, refuses: true, lease: 1, on_store_error: None }
    }

    fn admits(store: &MemoryStore, now: u64, hits: &[Hit]) -> bool {
        store.hit(Duration::from_secs(now), hits).iter().all(|outcome| !outcome.over)
    }

    #[test]
    fn a_window_admits_its_limit_and_the_next_one_again() {
        let store = MemoryStore::new(10);
        let hits = [hit("a", 2, 10)];
        let admitted: Vec<bool> = [100, 105, 109, 110].map(|now| admits(&store, now, &hits)).into();
        assert_eq!(admitted, [true, true, false, true]);
    }

    #[test]
    fn a_refused_request_costs_the_other_rules_nothing() {
        let store = MemoryStore::new(10);
        let both = [hit("wide", 3, 10), hit("narrow", 1, 10)];
        assert!(admits(&store, 0, &both));
        assert!(!admits(&store, 0, &both));
        assert_eq!(store.hit(Duration::ZERO, &[hit("wide", 3, 10)])[0].remaining, 1);
    }

    #[test]
    fn a_clock_set_back_neither_forgets_the_window_nor_holds_it_for_long() {
        let store = MemoryStore::new(10);
        let hits = [hit("a", 1, 10)];
        assert!(admits(&store, 1000, &hits));
        assert!(!admits(&store, 1000 - 5, &hits), "the window is kept");
        assert!(admits(&store, 100, &hits), "the window is not waited for");
    }

    #[test]
    fn times_whose_lower_bits_wrap_are_told_apart() {
        let store = MemoryStore::new(10);
        let hits = [hit("a", 1, 100)];
        let wrap = u64::from(u32::MAX) + 1;
        assert!(admits(&store, wrap - 10, &hits));
        assert!(!admits(&store, wrap + 2, &hits), "2^32 + 4 is the end of the window");
        assert!(admits(&store, wrap + 4, &hits));
    }

    #[test]
    fn a_full_set_gives_up_the_counter_that_lost_the_least() {
        let store = MemoryStore::new(1);
        let sets = store.locks.len();
        assert_eq!(sets, 1);
        let busy = [hit("busy", 2, 10)];
        assert!(admits(&store, 0, &busy) && admits(&store, 0, &busy));
        for other in 0..1000 {
            assert!(admits(&store, 0, &[hit(&other.to_string(), 2, 10)]));
        }
        assert!(!admits(&store, 0, &busy));
    }
}
