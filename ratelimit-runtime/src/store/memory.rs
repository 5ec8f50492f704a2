//! Counters in this process: exact under concurrent requests, bounded, without a thread that cleans up.
//!
//! The hash of a counter names its set in the table, and the counter is in any slot of that set. A slot whose window is over is free. A
//! request with several rules holds the locks of all its sets, taken in ascending order, so that it is one decision.
//!
//! A slot keeps the end of a window and its count, or GCRA's arrival time as the second after it and its nanoseconds. It also keeps a
//! gauge of how full the counter is, by which a full set [evicts](eviction). A sliding window has a slot for each of its two windows,
//! and a counter of GCRA has one for each of its [rates], in the same set. What runs at the same time is counted beside the table, as
//! [places].
//!
//! The functions on the path of a fixed window are always inlined, here and in [`decide_one`]: together, this saves 87 of some 1,600
//! instructions of a check (`benches/instructions.sh`).

mod blocks;
mod eviction;
mod look;
mod places;
mod rates;
mod settle;
mod table;
mod tag;

use std::time::Duration;

use smallvec::SmallVec;

use crate::{
    decision::outcome::{Outcome, Outcomes},
    rule::{
        algorithm::{Algorithm, gcra::NANOS},
        block::{Block, BlockState},
        terms::{CounterState, Terms},
    },
    store::{
        Hit, decide, decide_one,
        memory::{
            look::{Look, OVERDRAWN, arrival, look, look_fixed},
            places::Places,
            rates::Rates,
            table::{LARGEST_CAPACITY, Set, Table, Value},
            tag::{arrival_tag, block_tag, tag, window_tag},
        },
    },
};

pub(crate) struct MemoryStore {
    table: Table,
    rates: Rates,
    places: Places,
}

impl MemoryStore {
    /// The most counters that a store holds.
    pub(crate) const LARGEST_CAPACITY: usize = LARGEST_CAPACITY;

    /// A store for `capacity` counters, rounded up to a power of two.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { table: Table::new(capacity), rates: Rates::default(), places: Places::default() }
    }

    /// Checks and counts a request of one rule at `now`, the time since the epoch: with one lock, and nothing to gather.
    #[inline(always)]
    pub(crate) fn hit_one(&self, now: Duration, hit: &Hit) -> Outcome {
        match hit.terms.algorithm {
            // A path of its own, so that the compiler leaves out the other algorithms.
            Algorithm::FixedWindow if hit.block.is_none() => {
                let set = self.lock(hit.hash);
                count(&set, &self.rates, look_fixed(&set, hit.hash, &hit.terms, now), hit, now)
            }
            _ => self.hit_other(now, *hit),
        }
    }

    #[inline(never)]
    fn hit_other(&self, now: Duration, hit: Hit) -> Outcome {
        if hit.block.is_some()
            && let [outcome] = self.hit(now, &[hit])[..]
        {
            return outcome;
        }
        if hit.terms.algorithm == Algorithm::Concurrency {
            let mut places = self.places.lock(&[hit]);
            let outcome = decide_one(&hit, places.look(&hit), now);
            if outcome.taken > 0 {
                places.take(&hit);
            }
            return outcome;
        }
        let set = self.lock(hit.hash);
        count(&set, &self.rates, look(&set, &self.rates, hit.hash, &hit.terms, now), &hit, now)
    }

    /// Checks and counts a request at `now`, the time since the epoch.
    pub(crate) fn hit(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        let sets = self.lock_all(hits);
        // After all sets, in all checks.
        let mut places = self.places.lock(hits);
        // Every set of a hit is locked.
        let set_of = |hit: &Hit| Some(&sets.iter().find(|(index, _)| *index == self.table.set(hit.hash))?.1);
        let look = |hit: &Hit| set_of(hit).map(|set| (set, look(set, &self.rates, hit.hash, &hit.terms, now)));
        let found: SmallVec<[CounterState; 2]> = hits
            .iter()
            .filter_map(|hit| match hit.terms.algorithm {
                Algorithm::Concurrency => Some(places.look(hit)),
                _ => look(hit).map(|(set, look)| hit.unless_blocked(look.found, blocks::held(set, hit, now), now)),
            })
            .collect();
        let mut decision = decide(hits.iter(), &found, now);
        for ((hit, found), outcome) in hits.iter().zip(&found).zip(&mut decision.outcomes) {
            let Some((block, set)) = hit.block.zip(set_of(hit)) else { continue };
            if let Some(next) = hit.block(*found, blocks::held(set, hit, now), outcome, now) {
                blocks::write(set, hit, block, next, now);
            }
        }
        let changes = |outcome: &Outcome| outcome.taken > 0 || outcome.remaining == 0;
        for (hit, outcome) in hits.iter().zip(&decision.outcomes).filter(|(_, outcome)| changes(outcome)) {
            if hit.terms.algorithm == Algorithm::Concurrency {
                if outcome.taken > 0 {
                    places.take(hit);
                }
                continue;
            }
            // Look again: another new counter of this request may have taken the slot.
            if let Some((set, look)) = look(hit) {
                keep(set, &self.rates, look, hit, outcome, now);
            }
        }
        decision.outcomes
    }

    /// Resets a counter.
    pub(crate) fn reset(&self, now: Duration, hit: &Hit) {
        let terms = &hit.terms;
        if terms.algorithm == Algorithm::Concurrency {
            return self.places.lock(&[*hit]).reset(hit);
        }
        let set = self.lock(hit.hash);
        let window = terms.window_end(now.as_secs()) / u64::from(terms.limit.per);
        let tags = match terms.algorithm {
            Algorithm::FixedWindow => [tag(hit.hash); 2],
            Algorithm::SlidingWindow => [window_tag(hit.hash, window), window_tag(hit.hash, window + 1)],
            Algorithm::Gcra { .. } | Algorithm::Concurrency => [arrival_tag(hit.hash, terms); 2],
        };
        let block = hit.block.map(|_| block_tag(hit.hash));
        let others = self.rates.others(terms).map(|other| arrival_tag(hit.hash, &other));
        for slot in tags.into_iter().chain(others).chain(block).filter_map(|tag| set.find(tag)) {
            // A slot whose window is over is free.
            set.write(slot, Value { kept_until: now.as_secs() as u32, number: 0 });
        }
    }

    /// Blocks the subject of a hit for so many seconds, if its rule blocks.
    pub(crate) fn block(&self, now: Duration, hit: &Hit, seconds: u32) {
        self.change_block(now, hit, |block, held| Some(block.by_hand(held, seconds, now)));
    }

    /// Keeps what a shared store says of a subject: when its block ends, or that there is none.
    pub(crate) fn note_block(&self, now: Duration, hit: &Hit, until: Option<u64>) {
        self.change_block(now, hit, |block, held| match until {
            Some(until) => Some(BlockState { until, ..held.unwrap_or_default() }),
            // The level stays.
            None => block.until(held, now).and(held).map(|held| BlockState { until: now.as_secs(), ..held }),
        });
    }

    /// When the block of a hit's subject ends, if there is one.
    #[cfg(feature = "redis")]
    pub(crate) fn blocked_until(&self, now: Duration, hit: &Hit) -> Option<u64> {
        hit.block?.until(blocks::held(&self.lock(hit.hash), hit, now), now)
    }

    fn change_block(
        &self,
        now: Duration,
        hit: &Hit,
        next: impl FnOnce(&Block, Option<BlockState>) -> Option<BlockState>,
    ) {
        let Some(block) = hit.block else { return };
        let set = self.lock(hit.hash);
        if let Some(next) = next(block, blocks::held(&set, hit, now)) {
            blocks::write(&set, hit, block, next, now);
        }
    }

    /// Refunds tokens that were taken in the window that ends at `window_end`, if it still counts.
    pub(crate) fn refund(&self, now: Duration, hit: &Hit, window_end: u64, tokens: u64) {
        let terms = &hit.terms;
        if terms.algorithm == Algorithm::Concurrency {
            return self.places.lock(&[*hit]).release(hit, window_end);
        }
        self.change(self.moment_in(now, hit, window_end), hit, |found| match found {
            CounterState::Window { end, .. } | CounterState::Windows { end, .. } if end != window_end => None,
            CounterState::Window { used: 0, .. } | CounterState::Windows { used: 0, .. } | CounterState::Arrival(0) => {
                None
            }
            found => Some((terms.refund(found, tokens), Shared::GivenBack(tokens))),
        });
    }

    /// The time at which the counter of a window is found.
    fn moment_in(&self, now: Duration, hit: &Hit, window_end: u64) -> Duration {
        match hit.terms.algorithm {
            // The window still counts in the next one. Its counter is found at its last moment.
            Algorithm::SlidingWindow => now.min(Duration::from_secs(window_end.saturating_sub(1))),
            Algorithm::FixedWindow | Algorithm::Gcra { .. } | Algorithm::Concurrency => now,
        }
    }

    /// Enters a place that another store has given, whether or not there is room.
    pub(crate) fn enter(&self, hit: &Hit) {
        self.places.lock(&[*hit]).take(hit);
    }

    /// Raises a counter to `used`, if it holds less.
    pub(crate) fn raise(&self, now: Duration, hit: &Hit, used: u32, window_end: u64) {
        let terms = &hit.terms;
        self.change(now, hit, |found| {
            // A new window begins with its first request.
            let found = terms.in_window(found, window_end)?;
            let missing = u64::from(used).checked_sub(terms.used(found, now))?;
            (missing > 0).then(|| (terms.take(found, missing, now), Shared::Taken(missing)))
        });
    }

    fn change(&self, now: Duration, hit: &Hit, change: impl FnOnce(CounterState) -> Option<(CounterState, Shared)>) {
        let set = self.lock(hit.hash);
        let look = look(&set, &self.rates, hit.hash, &hit.terms, now);
        if let Some((found, shared)) = change(look.found) {
            // A counter that holds less than before gets a new gauge.
            let look = Look { begins: look.begins || !goes_on(look.found, found), ..look };
            write(&set, &self.rates, look, &hit.terms, found, now);
            share(&set, &self.rates, hit, shared, now);
            note_full(&set, look, hit, hit.terms.remaining(found, now), hit.terms.cost);
        }
    }

    #[inline(always)]
    fn lock(&self, hash: u64) -> Set<'_> {
        self.table.lock(self.table.set(hash))
    }

    /// Locks the sets of `hits`, each once and in ascending order, so that no two requests wait for each other.
    fn lock_all(&self, hits: &[Hit]) -> SmallVec<[(usize, Set<'_>); 2]> {
        let in_table = hits.iter().filter(|hit| hit.terms.algorithm != Algorithm::Concurrency);
        let mut sets: SmallVec<[usize; 2]> = in_table.map(|hit| self.table.set(hit.hash)).collect();
        sets.sort_unstable();
        sets.dedup();
        sets.into_iter().map(|set| (set, self.table.lock(set))).collect()
    }
}

/// Decides a hit, and counts it.
#[inline(always)]
fn count(set: &Set<'_>, rates: &Rates, look: Look, hit: &Hit, now: Duration) -> Outcome {
    let outcome = decide_one(hit, look.found, now);
    keep(set, rates, look, hit, &outcome, now);
    outcome
}

/// Writes the outcome of a hit.
#[inline(always)]
fn keep(set: &Set<'_>, rates: &Rates, look: Look, hit: &Hit, outcome: &Outcome, now: Duration) {
    if outcome.taken > 0 {
        write(set, rates, look, &hit.terms, hit.terms.take(look.found, outcome.taken, now), now);
        share(set, rates, hit, Shared::Taken(outcome.taken), now);
    }
    note_full(set, look, hit, outcome.remaining, outcome.taken);
}

/// A change that all buckets of a counter share.
#[derive(Clone, Copy)]
enum Shared {
    Taken(u64),
    GivenBack(u64),
}

/// Applies the change of one bucket of GCRA to the counter's other buckets.
#[inline(always)]
fn share(set: &Set<'_>, rates: &Rates, hit: &Hit, shared: Shared, now: Duration) {
    if matches!(hit.terms.algorithm, Algorithm::Gcra { .. }) {
        share_with(set, rates.others(&hit.terms), hit.hash, shared, now);
    }
}

fn share_with(set: &Set<'_>, others: impl Iterator<Item = Terms>, hash: u64, shared: Shared, now: Duration) {
    for other in others {
        let Some(slot) = set.find(arrival_tag(hash, &other)) else { continue };
        let before = set.read(slot);
        let found = arrival(before, now.as_secs());
        let mut mark = before.number & OVERDRAWN;
        let found = match shared {
            Shared::Taken(tokens) => {
                let taken = other.take_at_most(found, tokens, now);
                if other.used(found, now) == 0 {
                    mark = 0;
                }
                if taken != other.take(found, tokens, now) {
                    mark = OVERDRAWN;
                }
                taken
            }
            // It is not known how many of the tokens this bucket lost.
            Shared::GivenBack(_) if mark > 0 => continue,
            Shared::GivenBack(tokens) => other.refund(found, tokens),
        };
        let Value { kept_until, number } = value(found, &other);
        set.write(slot, Value { kept_until, number: number | mark });
        set.set_gauge(slot, eviction::share(&other, found, now));
        eviction::full(other.remaining(found, now), 1).inspect(|gauge| set.raise_gauge(slot, *gauge));
    }
}

/// Raises the gauge of a counter that is full after a request took `taken`.
#[inline(always)]
fn note_full(set: &Set<'_>, look: Look, hit: &Hit, remaining: u32, taken: u64) {
    let Some(gauge) = eviction::full(remaining, taken) else { return };
    if taken > 0 || !look.begins {
        set.raise_gauge(look.slot, gauge);
    }
    if let CounterState::Windows { before: 1.., end, .. } = look.found {
        // The last window's count makes it full, so that window must stay, too.
        let last = set.find(window_tag(hit.hash, end / u64::from(hit.terms.limit.per) - 1));
        last.inspect(|slot| set.raise_gauge(*slot, gauge));
    }
}

/// Writes a counter's state into its slot, under the lock under which it was looked up.
#[inline(always)]
fn write(set: &Set<'_>, rates: &Rates, look: Look, terms: &Terms, found: CounterState, now: Duration) {
    let Value { kept_until, number } = value(found, terms);
    set.write(
        look.slot,
        Value { kept_until, number: if let CounterState::Arrival(_) = found { number | look.mark } else { number } },
    );
    if look.begins {
        set.take(look.slot, look.tag);
        set.set_gauge(look.slot, eviction::capacity(terms));
    }
    if let CounterState::Arrival(_) = found {
        if look.begins {
            rates.add(terms);
        }
        set.set_gauge(look.slot, eviction::share(terms, found, now));
    }
}

/// The contents of a slot for a state.
#[inline(always)]
fn value(found: CounterState, terms: &Terms) -> Value {
    let (kept_until, number) = match found {
        CounterState::Window { used, end } => (end, used),
        CounterState::Windows { used, end, .. } => (end + u64::from(terms.limit.per), used),
        CounterState::Arrival(arrival) => (arrival / NANOS + 1, (arrival % NANOS) as u32),
        // Places and blocks have no slot of a counter.
        CounterState::Places(held) => (0, held),
        CounterState::Blocked { .. } => (0, 0),
    };
    Value { kept_until: kept_until as u32, number }
}

/// Whether a counter is in the same window as before, and no less was counted.
fn goes_on(before: CounterState, after: CounterState) -> bool {
    match (before, after) {
        (CounterState::Window { used, end }, CounterState::Window { used: now, end: same })
        | (CounterState::Windows { used, end, .. }, CounterState::Windows { used: now, end: same, .. }) => {
            end == same && used <= now
        }
        _ => false,
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
