//! Counters in this process: exact under concurrent requests, bounded, without a thread that cleans up.
//!
//! A flat table of sets. A counter can be in one set only, which its hash tells, in any of its 16 slots; a
//! counter whose window is over leaves its slot to the next that comes by. Each set has a lock, and a request
//! with several rules holds all of its sets' locks, taken in their order, so that its decision is one.
//!
//! A slot keeps the end of a window and its count, or GCRA's arrival time, as the second after it and its nanoseconds.
//! A sliding window has a slot for each of its two windows, in the same set.
//!
//! The slots are atomics for the sake of their allocation alone: safe code gets them as zeroed pages
//! that the operating system hands out as they are touched, so a table for a million counters costs a small
//! application next to nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::{
    algorithm::{Found, NANOS, Terms},
    policy::Algorithm,
    store::{Hit, Outcome, Outcomes, decide, decide_one},
};

const WAYS: usize = 16;

/// Slots for each counter of the capacity. At one half, fewer than one set in two hundred has more counters
/// than slots when as many are live as the capacity says.
const SLOTS_PER_COUNTER: usize = 2;

/// A quarter of a billion counters take 9 GB.
const LARGEST_CAPACITY: usize = 1 << 28;

/// Marks the hashes of GCRA's slots.
const ARRIVAL: u64 = 1 << 62;

pub(crate) struct MemoryStore {
    locks: Box<[Mutex<()>]>,
    /// For each set the hashes of the counters in its slots, side by side to be looked through; then, of each slot, until
    /// when it is kept (upper 32 bits) and its number (lower 32 bits).
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
    /// What the slot is known by: the counter's hash, and for a sliding window one that differs from window to window.
    hash: u64,
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
        Self { locks, words }
    }

    /// Checks and counts one request at `now`, the time since the epoch.
    pub(crate) fn hit(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        match hits {
            [hit] => Outcomes::from_buf([self.hit_one(now, hit)]),
            _ => self.hit_all(now, hits),
        }
    }

    /// One rule, as most handlers have: one lock, and nothing to gather.
    fn hit_one(&self, now: Duration, hit: &Hit) -> Outcome {
        let place = self.place(hit.hash);
        let _locked = self.locks[place.set].lock();
        let look = self.look(place, &hit.terms, now);
        let outcome = decide_one(hit, look.found, now);
        if outcome.taken > 0 {
            self.write(look, &hit.terms, hit.terms.take(look.found, outcome.taken, now));
        }
        outcome
    }

    fn hit_all(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        let places: SmallVec<[Place; 2]> = hits.iter().map(|hit| self.place(hit.hash)).collect();
        let _locked = self.lock(&places);
        let look = |index: usize| self.look(places[index], &hits[index].terms, now);
        let found: SmallVec<[Found; 2]> = (0..hits.len()).map(|index| look(index).found).collect();
        let decision = decide(hits.iter(), &found, now);
        for index in (0..hits.len()).filter(|&index| decision.counts(index)) {
            // Looked at again: a counter that was new may just have been given the slot that this one would take.
            let (look, terms) = (look(index), &hits[index].terms);
            self.write(look, terms, terms.take(look.found, decision.outcomes[index].taken, now));
        }
        decision.outcomes
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&self, now: Duration, hit: &Hit) {
        let terms = &hit.terms;
        self.locked(hit.hash, |place| {
            let end = terms.window_end(now.as_secs()) / u64::from(terms.limit.per);
            let hashes = match terms.algorithm {
                Algorithm::FixedWindow => [place.hash & !ARRIVAL; 2],
                Algorithm::SlidingWindow => [window_hash(place.hash, end), window_hash(place.hash, end + 1)],
                Algorithm::Gcra { .. } => [place.hash | ARRIVAL; 2],
            };
            for slot in hashes.into_iter().filter_map(|hash| self.find(place.set, hash.max(1))) {
                // Over, and so nobody's.
                self.value(slot).store(u64::from(now.as_secs() as u32) << 32, Relaxed);
            }
        });
    }

    /// Takes back what was taken from a counter in the window that ends at `window_end`, if that still counts.
    pub(crate) fn give_back(&self, now: Duration, hit: &Hit, window_end: u64, tokens: u64) {
        let terms = &hit.terms;
        let then = match terms.algorithm {
            // It counts on in the next window, and is found at its last moment.
            Algorithm::SlidingWindow => now.min(Duration::from_secs(window_end.saturating_sub(1))),
            Algorithm::FixedWindow | Algorithm::Gcra { .. } => now,
        };
        self.change(then, hit, |found| match found {
            Found::Window { end, .. } | Found::Windows { end, .. } if end != window_end => None,
            Found::Window { used: 0, .. } | Found::Windows { used: 0, .. } | Found::Arrival(0) => None,
            found => Some(terms.give_back(found, tokens)),
        });
    }

    /// Raises what is used of a counter to `used`, if it holds less.
    #[cfg(feature = "redis")]
    pub(crate) fn raise(&self, now: Duration, hit: &Hit, used: u32, window_end: u64) {
        let terms = &hit.terms;
        self.change(now, hit, |found| {
            // A window that begins is known by its first request.
            let found = terms.in_window(found, window_end)?;
            let missing = u64::from(used).checked_sub(terms.used(found, now))?;
            (missing > 0).then(|| terms.take(found, missing, now))
        });
    }

    fn change(&self, now: Duration, hit: &Hit, change: impl FnOnce(Found) -> Option<Found>) {
        self.locked(hit.hash, |place| {
            let look = self.look(place, &hit.terms, now);
            if let Some(found) = change(look.found) {
                self.write(look, &hit.terms, found);
            }
        });
    }

    fn locked<T>(&self, hash: u64, act: impl FnOnce(Place) -> T) -> T {
        let place = self.place(hash);
        let _locked = self.locks[place.set].lock();
        act(place)
    }

    fn place(&self, hash: u64) -> Place {
        Place { set: hash as usize & (self.locks.len() - 1), hash }
    }

    /// Locks the sets of `places`, each once and in ascending order, so that no two requests wait for each other.
    fn lock(&self, places: &[Place]) -> SmallVec<[MutexGuard<'_, ()>; 2]> {
        let mut sets: SmallVec<[usize; 2]> = places.iter().map(|place| place.set).collect();
        sets.sort_unstable();
        sets.dedup();
        sets.iter().map(|&set| self.locks[set].lock()).collect()
    }

    /// Finds a counter in its locked set, or the slot that it would take over.
    fn look(&self, place: Place, terms: &Terms, now: Duration) -> Look {
        let seconds = now.as_secs();
        match terms.algorithm {
            Algorithm::FixedWindow => {
                // Zero marks a slot that was never used.
                let hash = (place.hash & !ARRIVAL).max(1);
                let end = terms.window_end(seconds);
                let Some(slot) = self.find(place.set, hash) else {
                    return Look { slot: self.victim(place.set, seconds), hash, found: Found::Window { used: 0, end } };
                };
                let (window_end, used) = self.read(slot);
                let left = seconds_left(window_end, seconds);
                // A clock that is set back a little, as clocks are, stays in the window that it had reached. One
                // that is set back by more than a window starts anew, or clients would wait for it to catch up.
                let live = 0 < left && left <= 2 * i64::from(terms.limit.per);
                let found = match live {
                    true => Found::Window { used, end: seconds.saturating_add_signed(left) },
                    false => Found::Window { used: 0, end },
                };
                Look { slot, hash, found }
            }
            Algorithm::SlidingWindow => {
                let end = terms.window_end(seconds);
                let length = u64::from(terms.limit.per);
                // A window keeps its slot through the next one.
                let used = |hash: u64, end: u64| {
                    let slot = self.find(place.set, hash)?;
                    let (kept_until, used) = self.read(slot);
                    let used = if kept_until == (end + length) as u32 { used } else { 0 };
                    Some((slot, used))
                };
                let hash = window_hash(place.hash, end / length);
                let last = end.saturating_sub(length);
                let before = used(window_hash(place.hash, last / length), last).map_or(0, |(_, used)| used);
                let (slot, used) = used(hash, end).unwrap_or_else(|| (self.victim(place.set, seconds), 0));
                Look { slot, hash, found: Found::Windows { used, before, end } }
            }
            Algorithm::Gcra { .. } => {
                let hash = place.hash | ARRIVAL;
                let Some(slot) = self.find(place.set, hash) else {
                    return Look { slot: self.victim(place.set, seconds), hash, found: Found::Arrival(0) };
                };
                let (kept_until, nanos) = self.read(slot);
                let whole = seconds.saturating_add_signed(seconds_left(kept_until, seconds) - 1);
                Look { slot, hash, found: Found::Arrival(whole.saturating_mul(NANOS).saturating_add(nanos.into())) }
            }
        }
    }

    #[inline]
    fn find(&self, set: usize, hash: u64) -> Option<usize> {
        let first = set * WAYS;
        let slot = self.words[2 * first..][..WAYS].iter().position(|word| word.load(Relaxed) == hash)?;
        Some(first + slot)
    }

    #[inline]
    fn hash(&self, slot: usize) -> &AtomicU64 {
        &self.words[slot / WAYS * 2 * WAYS + slot % WAYS]
    }

    #[inline]
    fn value(&self, slot: usize) -> &AtomicU64 {
        &self.words[(slot / WAYS * 2 + 1) * WAYS + slot % WAYS]
    }

    /// The slot of a set that is worth the least: nothing, once it is over, else what it has counted, or the seconds
    /// that GCRA's arrival time is ahead.
    fn victim(&self, set: usize, now: u64) -> usize {
        let worth = |slot: usize| {
            let (kept_until, used) = self.read(slot);
            match u32::try_from(seconds_left(kept_until, now)) {
                Err(_) | Ok(0) => 0,
                Ok(left) if self.hash(slot).load(Relaxed) & ARRIVAL > 0 => left,
                Ok(_) => used,
            }
        };
        (set * WAYS..(set + 1) * WAYS).min_by_key(|&slot| worth(slot)).unwrap_or_default()
    }

    fn read(&self, slot: usize) -> (u32, u32) {
        let word = self.value(slot).load(Relaxed);
        ((word >> 32) as u32, word as u32)
    }

    /// Writes into a slot that was looked at under the same lock.
    fn write(&self, look: Look, terms: &Terms, found: Found) {
        let (kept_until, number) = match found {
            Found::Window { used, end } => (end, used),
            Found::Windows { used, end, .. } => (end + u64::from(terms.limit.per), used),
            Found::Arrival(arrival) => (arrival / NANOS + 1, (arrival % NANOS) as u32),
        };
        let word = u64::from(kept_until as u32) << 32 | u64::from(number);
        self.hash(look.slot).store(look.hash, Relaxed);
        self.value(look.slot).store(word, Relaxed);
    }
}

/// The time from `now` to the end of a window, of which the lower 32 bits were kept: windows are shorter than
/// half of that range, so the sign of the difference tells the past from the future.
fn seconds_left(window_end: u32, now: u64) -> i64 {
    i64::from(window_end.wrapping_sub(now as u32) as i32)
}

/// The hash of a sliding window: those of two windows side by side differ in one of the bits that choose no set.
fn window_hash(counter: u64, window: u64) -> u64 {
    ((counter ^ (window & 1) << 63) & !ARRIVAL).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{Counter, Name, Text, Who},
        policy::Limit,
    };

    fn hit(key: &str, limit: u32, per: u32) -> Hit {
        let text = Text::new(key.as_bytes());
        let (key, scope) = (Name::Given(&text), smallvec::smallvec![Who::Global]);
        let counter = Counter { family: 0, key, per, kind: "", ordinal: 0, scope };
        let limit = Limit { limit, per };
        let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
        Hit { hash: counter.hash(), terms, refuses: true, lease: 1, on_store_error: None }
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
