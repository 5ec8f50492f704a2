//! Counters in this process: exact under concurrent requests, bounded, without a thread that cleans up.
//!
//! The hash of a counter names its set in the table, and the counter is in any slot of that set. A slot whose window is over is free. A
//! request with several rules holds the locks of all its sets, taken in ascending order, so that it is one decision.
//!
//! A slot keeps the end of a window and its count, or GCRA's arrival time as the second after it and its nanoseconds. It also keeps a
//! gauge of how full the counter is, by which a full set [evicts](eviction). A sliding window has a slot for each of its two windows,
//! and a counter of GCRA has one for each of its [rates], in the same set.
//!
//! The functions on the path of a fixed window are always inlined, here and in [`decide_one`]: together, this saves 87 of some 1,600
//! instructions of a check (`benches/instructions.sh`).

mod eviction;
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
        terms::{CounterState, Terms},
    },
    store::{
        Hit, decide, decide_one,
        memory::{
            rates::Rates,
            table::{LARGEST_CAPACITY, Set, Slot, Table, Value},
            tag::{arrival_tag, tag, window_tag},
        },
    },
};

/// Marks a bucket of GCRA that had too few tokens for another rule since it was last full. Nanoseconds need 30 bits.
const OVERDRAWN: u32 = 1 << 31;

pub(crate) struct MemoryStore {
    table: Table,
    rates: Rates,
}

/// The slot of a counter, or the one that it would take over, and the counter's state.
#[derive(Clone, Copy)]
struct Look {
    slot: Slot,
    /// The tag of the counter.
    tag: u32,
    /// Whether the slot holds nothing of this counter: it is another's, or its window is over.
    begins: bool,
    found: CounterState,
    /// [`OVERDRAWN`], or nothing.
    mark: u32,
}

impl MemoryStore {
    /// The most counters that a store holds.
    pub(crate) const LARGEST_CAPACITY: usize = LARGEST_CAPACITY;

    /// A store for `capacity` counters, rounded up to a power of two.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { table: Table::new(capacity), rates: Rates::default() }
    }

    /// Checks and counts a request of one rule at `now`, the time since the epoch: with one lock, and nothing to gather.
    #[inline(always)]
    pub(crate) fn hit_one(&self, now: Duration, hit: &Hit) -> Outcome {
        let set = self.lock(hit.hash);
        match hit.terms.algorithm {
            // A path of its own, so that the compiler leaves out the other algorithms.
            Algorithm::FixedWindow => count(&set, &self.rates, look_fixed(&set, hit.hash, &hit.terms, now), hit, now),
            _ => count_other(&set, &self.rates, *hit, now),
        }
    }

    /// Checks and counts a request at `now`, the time since the epoch.
    pub(crate) fn hit(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        let sets = self.lock_all(hits);
        let look = |hit: &Hit| {
            // Every set of a hit is locked.
            let set = sets.iter().find(|(index, _)| *index == self.table.set(hit.hash));
            set.map(|(_, set)| (set, look(set, &self.rates, hit.hash, &hit.terms, now)))
        };
        let found: SmallVec<[CounterState; 2]> = hits.iter().filter_map(|hit| Some(look(hit)?.1.found)).collect();
        let decision = decide(hits.iter(), &found, now);
        let changes = |outcome: &Outcome| outcome.taken > 0 || outcome.remaining == 0;
        for (hit, outcome) in hits.iter().zip(&decision.outcomes).filter(|(_, outcome)| changes(outcome)) {
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
        let set = self.lock(hit.hash);
        let window = terms.window_end(now.as_secs()) / u64::from(terms.limit.per);
        let tags = match terms.algorithm {
            Algorithm::FixedWindow => [tag(hit.hash); 2],
            Algorithm::SlidingWindow => [window_tag(hit.hash, window), window_tag(hit.hash, window + 1)],
            Algorithm::Gcra { .. } => [arrival_tag(hit.hash, terms); 2],
        };
        let others = self.rates.others(terms).map(|other| arrival_tag(hit.hash, &other));
        for slot in tags.into_iter().chain(others).filter_map(|tag| set.find(tag)) {
            // A slot whose window is over is free.
            set.write(slot, Value { kept_until: now.as_secs() as u32, number: 0 });
        }
    }

    /// Refunds tokens that were taken in the window that ends at `window_end`, if it still counts.
    pub(crate) fn refund(&self, now: Duration, hit: &Hit, window_end: u64, tokens: u64) {
        let terms = &hit.terms;
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
            Algorithm::FixedWindow | Algorithm::Gcra { .. } => now,
        }
    }

    /// Raises a counter to `used`, if it holds less.
    #[cfg(feature = "redis")]
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
        let mut sets: SmallVec<[usize; 2]> = hits.iter().map(|hit| self.table.set(hit.hash)).collect();
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

#[inline(never)]
fn count_other(set: &Set<'_>, rates: &Rates, hit: Hit, now: Duration) -> Outcome {
    count(set, rates, look(set, rates, hit.hash, &hit.terms, now), &hit, now)
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

/// Finds a counter in its set, or the slot that it would take over.
fn look(set: &Set<'_>, rates: &Rates, hash: u64, terms: &Terms, now: Duration) -> Look {
    match terms.algorithm {
        Algorithm::FixedWindow => look_fixed(set, hash, terms, now),
        Algorithm::SlidingWindow => look_sliding(set, hash, terms, now),
        Algorithm::Gcra { .. } => look_gcra(set, rates, hash, terms, now),
    }
}

#[inline(always)]
fn look_fixed(set: &Set<'_>, hash: u64, terms: &Terms, now: Duration) -> Look {
    let seconds = now.as_secs();
    let tag = tag(hash);
    let Some(slot) = set.find(tag) else {
        return Look::new(set, tag, seconds, CounterState::Window { used: 0, end: terms.window_end(seconds) }, |_| {
            false
        });
    };
    let Value { kept_until, number } = set.read(slot);
    let left = seconds_left(kept_until, seconds);
    // A clock that is set back a little stays in the window that it had reached. One that is set back by more than a window
    // starts a new window, because clients would wait for the clock to catch up.
    let is_live = 0 < left && left <= 2 * i64::from(terms.limit.per);
    let found = match is_live {
        true => CounterState::Window { used: number, end: seconds.saturating_add_signed(left) },
        false => CounterState::Window { used: 0, end: terms.window_end(seconds) },
    };
    Look { slot, tag, begins: !is_live, found, mark: 0 }
}

fn look_sliding(set: &Set<'_>, hash: u64, terms: &Terms, now: Duration) -> Look {
    let seconds = now.as_secs();
    let end = terms.window_end(seconds);
    let length = u64::from(terms.limit.per);
    // A window keeps its slot while the next one lasts.
    let used = |slot: Slot, end: u64| {
        let Value { kept_until, number } = set.read(slot);
        (kept_until == (end + length) as u32).then_some(number)
    };
    let last_end = end.saturating_sub(length);
    let last = set.find(window_tag(hash, last_end / length));
    let before = last.and_then(|slot| used(slot, last_end));
    let found = |used| CounterState::Windows { used, before: before.unwrap_or(0), end };
    let tag = window_tag(hash, end / length);
    match set.find(tag) {
        Some(slot) => {
            let used = used(slot, end);
            Look { slot, tag, begins: used.is_none(), found: found(used.unwrap_or(0)), mark: 0 }
        }
        None => Look::new(set, tag, seconds, found(0), |slot| before.is_some() && last == Some(slot)),
    }
}

fn look_gcra(set: &Set<'_>, rates: &Rates, hash: u64, terms: &Terms, now: Duration) -> Look {
    let seconds = now.as_secs();
    let tag = arrival_tag(hash, terms);
    let look = |tag| set.find(tag).map(|slot| (slot, set.read(slot)));
    if let Some((slot, value)) = look(tag) {
        let found = arrival(value, seconds);
        let mark = if terms.used(found, now) > 0 { value.number & OVERDRAWN } else { 0 };
        return Look { slot, tag, begins: false, found, mark };
    }
    // A new bucket starts with the most that was taken from the counter's other buckets.
    let (mut own, mut used) = (SmallVec::<[Slot; 2]>::new(), 0);
    for other in rates.others(terms) {
        if let Some((slot, value)) = look(arrival_tag(hash, &other)) {
            own.push(slot);
            used = used.max(other.used(arrival(value, seconds), now));
        }
    }
    let mark = if used > terms.capacity().into() { OVERDRAWN } else { 0 };
    let look = Look::new(set, tag, seconds, terms.with_used(used, now), |slot| own.contains(&slot));
    Look { mark, ..look }
}

/// GCRA's arrival time, as a slot holds it.
#[inline(always)]
fn arrival(Value { kept_until, number }: Value, seconds: u64) -> CounterState {
    let whole = seconds.saturating_add_signed(seconds_left(kept_until, seconds) - 1);
    CounterState::Arrival(whole.saturating_mul(NANOS).saturating_add((number & !OVERDRAWN).into()))
}

impl Look {
    /// A counter without a slot takes one over. `is_own` says which slots hold the states that it starts from.
    #[cold]
    fn new(set: &Set<'_>, tag: u32, now: u64, found: CounterState, is_own: impl Fn(Slot) -> bool) -> Self {
        let slot = eviction::slot(set, tag, is_own, |kept_until| seconds_left(kept_until, now));
        Self { slot, tag, begins: true, found, mark: 0 }
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

/// The time from `now` to the end of a window, of which the lower 32 bits were kept: windows are shorter than
/// half of that range, so the sign of the difference tells the past from the future.
#[inline(always)]
fn seconds_left(window_end: u32, now: u64) -> i64 {
    i64::from(window_end.wrapping_sub(now as u32) as i32)
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
