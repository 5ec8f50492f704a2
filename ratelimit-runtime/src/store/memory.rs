//! Counters in this process: exact under concurrent requests, bounded, without a thread that cleans up.
//!
//! A counter can be in one set of the table only, which its hash tells, in any of that set's slots; a counter whose window is
//! over leaves its slot to the next that comes by. A request with several rules holds the locks of all of its sets, taken
//! in their order, so that its decision is one.
//!
//! A slot keeps the end of a window and its count, or GCRA's arrival time, as the second after it and its nanoseconds;
//! and a gauge of how full the counter is, which decides [who gives way](eviction) in a full set. A sliding window has a slot
//! for each of its two windows, in the same set.

mod eviction;
mod table;

use std::time::Duration;

use smallvec::SmallVec;

use crate::{
    algorithm::{Found, NANOS, Terms},
    policy::Algorithm,
    store::{
        Hit, Outcome, Outcomes, decide, decide_one,
        memory::table::{Set, Slot, Table, Value},
    },
};

/// Marks the tags of GCRA's slots.
const ARRIVAL: u32 = 1 << 31;

pub(crate) struct MemoryStore {
    table: Table,
}

/// The slot of a counter, or the one that it would take over, and what was counted.
#[derive(Clone, Copy)]
struct Look {
    slot: Slot,
    /// What the slot is known by, or will be.
    tag: u32,
    /// Whether the slot holds nothing of this counter: it is another's, or of a window that is over.
    begins: bool,
    found: Found,
}

impl MemoryStore {
    /// A store for `capacity` counters, rounded up to a power of two.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { table: Table::new(capacity) }
    }

    /// Checks and counts one request at `now`, the time since the epoch.
    #[inline(always)]
    pub(crate) fn hit(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        match hits {
            [hit] => Outcomes::from_buf([self.hit_one(now, hit)]),
            _ => self.hit_all(now, hits),
        }
    }

    /// One rule, as most handlers have: one lock, and nothing to gather.
    #[inline(always)]
    pub(crate) fn hit_one(&self, now: Duration, hit: &Hit) -> Outcome {
        let set = self.lock(hit.hash);
        match hit.terms.algorithm {
            // By far the most: apart from the others, so that the compiler makes of it what it needs and no more.
            Algorithm::FixedWindow => count(&set, look_fixed(&set, hit.hash, &hit.terms, now), hit, now),
            _ => count_other(&set, *hit, now),
        }
    }

    fn hit_all(&self, now: Duration, hits: &[Hit]) -> Outcomes {
        let sets = self.lock_all(hits);
        let look = |hit: &Hit| {
            // It is among those that were locked.
            let set = sets.iter().find(|(index, _)| *index == self.table.set(hit.hash));
            set.map(|(_, set)| (set, look(set, hit.hash, &hit.terms, now)))
        };
        let found: SmallVec<[Found; 2]> = hits.iter().filter_map(|hit| Some(look(hit)?.1.found)).collect();
        let decision = decide(hits.iter(), &found, now);
        let changes = |outcome: &Outcome| outcome.taken > 0 || outcome.remaining == 0;
        for (hit, outcome) in hits.iter().zip(&decision.outcomes).filter(|(_, outcome)| changes(outcome)) {
            // Looked at again: a counter that was new may just have been given the slot that this one would take.
            if let Some((set, look)) = look(hit) {
                keep(set, look, hit, outcome, now);
            }
        }
        decision.outcomes
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&self, now: Duration, hit: &Hit) {
        let terms = &hit.terms;
        let set = self.lock(hit.hash);
        let window = terms.window_end(now.as_secs()) / u64::from(terms.limit.per);
        let tags = match terms.algorithm {
            Algorithm::FixedWindow => [tag(hit.hash); 2],
            Algorithm::SlidingWindow => [window_tag(hit.hash, window), window_tag(hit.hash, window + 1)],
            Algorithm::Gcra { .. } => [arrival_tag(hit.hash); 2],
        };
        for slot in tags.into_iter().filter_map(|tag| set.find(tag)) {
            // Over, and so nobody's.
            set.write(slot, Value { kept_until: now.as_secs() as u32, number: 0 });
        }
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
        let set = self.lock(hit.hash);
        let look = look(&set, hit.hash, &hit.terms, now);
        if let Some(found) = change(look.found) {
            // Where there is less than before, the gauge is as of the beginning, too.
            let look = Look { begins: look.begins || !goes_on(look.found, found), ..look };
            write(&set, look, &hit.terms, found, now);
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

/// Decides about a counter that was looked at, and counts.
#[inline(always)]
fn count(set: &Set<'_>, look: Look, hit: &Hit, now: Duration) -> Outcome {
    let outcome = decide_one(hit, look.found, now);
    keep(set, look, hit, &outcome, now);
    outcome
}

#[inline(never)]
fn count_other(set: &Set<'_>, hit: Hit, now: Duration) -> Outcome {
    count(set, look(set, hit.hash, &hit.terms, now), &hit, now)
}

/// Counts what a request has taken.
#[inline(always)]
fn keep(set: &Set<'_>, look: Look, hit: &Hit, outcome: &Outcome, now: Duration) {
    if outcome.taken > 0 {
        write(set, look, &hit.terms, hit.terms.take(look.found, outcome.taken, now), now);
    }
    note_full(set, look, hit, outcome.remaining, outcome.taken);
}

/// Notes that a counter is full, if it is after a request has taken so much of it.
#[inline(always)]
fn note_full(set: &Set<'_>, look: Look, hit: &Hit, remaining: u32, taken: u64) {
    let Some(gauge) = eviction::full(remaining, taken) else { return };
    if taken > 0 || !look.begins {
        set.raise_gauge(look.slot, gauge);
    }
    if let Found::Windows { before: 1.., end, .. } = look.found {
        // Without the count of its last window, it would not be full.
        let last = set.find(window_tag(hit.hash, end / u64::from(hit.terms.limit.per) - 1));
        last.inspect(|slot| set.raise_gauge(*slot, gauge));
    }
}

/// Finds a counter in its set, or the slot that it would take over.
fn look(set: &Set<'_>, hash: u64, terms: &Terms, now: Duration) -> Look {
    match terms.algorithm {
        Algorithm::FixedWindow => look_fixed(set, hash, terms, now),
        Algorithm::SlidingWindow => look_sliding(set, hash, terms, now),
        Algorithm::Gcra { .. } => look_gcra(set, hash, now),
    }
}

#[inline(always)]
fn look_fixed(set: &Set<'_>, hash: u64, terms: &Terms, now: Duration) -> Look {
    let seconds = now.as_secs();
    let tag = tag(hash);
    let Some(slot) = set.find(tag) else {
        return Look::new(set, tag, seconds, Found::Window { used: 0, end: terms.window_end(seconds) }, None);
    };
    let Value { kept_until, number } = set.read(slot);
    let left = seconds_left(kept_until, seconds);
    // A clock that is set back a little, as clocks are, stays in the window that it had reached. One that is set
    // back by more than a window starts anew, or clients would wait for it to catch up.
    let is_live = 0 < left && left <= 2 * i64::from(terms.limit.per);
    let found = match is_live {
        true => Found::Window { used: number, end: seconds.saturating_add_signed(left) },
        false => Found::Window { used: 0, end: terms.window_end(seconds) },
    };
    Look { slot, tag, begins: !is_live, found }
}

fn look_sliding(set: &Set<'_>, hash: u64, terms: &Terms, now: Duration) -> Look {
    let seconds = now.as_secs();
    let end = terms.window_end(seconds);
    let length = u64::from(terms.limit.per);
    // A window keeps its slot through the next one.
    let used = |slot: Slot, end: u64| {
        let Value { kept_until, number } = set.read(slot);
        (kept_until == (end + length) as u32).then_some(number)
    };
    let last_end = end.saturating_sub(length);
    let last = set.find(window_tag(hash, last_end / length));
    let before = last.and_then(|slot| used(slot, last_end));
    let found = |used| Found::Windows { used, before: before.unwrap_or(0), end };
    let tag = window_tag(hash, end / length);
    match set.find(tag) {
        Some(slot) => {
            let used = used(slot, end);
            Look { slot, tag, begins: used.is_none(), found: found(used.unwrap_or(0)) }
        }
        None => Look::new(set, tag, seconds, found(0), last.filter(|_| before.is_some())),
    }
}

fn look_gcra(set: &Set<'_>, hash: u64, now: Duration) -> Look {
    let seconds = now.as_secs();
    let tag = arrival_tag(hash);
    let Some(slot) = set.find(tag) else { return Look::new(set, tag, seconds, Found::Arrival(0), None) };
    let Value { kept_until, number } = set.read(slot);
    let whole = seconds.saturating_add_signed(seconds_left(kept_until, seconds) - 1);
    let found = Found::Arrival(whole.saturating_mul(NANOS).saturating_add(number.into()));
    Look { slot, tag, begins: false, found }
}

impl Look {
    /// A counter that has no slot, and takes one over; `own` is that of its last window.
    #[cold]
    fn new(set: &Set<'_>, tag: u32, now: u64, found: Found, own: Option<Slot>) -> Self {
        let slot = eviction::slot(set, tag, own, |kept_until| seconds_left(kept_until, now));
        Self { slot, tag, begins: true, found }
    }
}

/// Writes what a counter is now into the slot that was looked at under the same lock.
#[inline(always)]
fn write(set: &Set<'_>, look: Look, terms: &Terms, found: Found, now: Duration) {
    let (kept_until, number) = match found {
        Found::Window { used, end } => (end, used),
        Found::Windows { used, end, .. } => (end + u64::from(terms.limit.per), used),
        Found::Arrival(arrival) => (arrival / NANOS + 1, (arrival % NANOS) as u32),
    };
    set.write(look.slot, Value { kept_until: kept_until as u32, number });
    if look.begins {
        set.take(look.slot, look.tag);
        set.set_gauge(look.slot, eviction::capacity(terms));
    }
    if let Found::Arrival(_) = found {
        set.set_gauge(look.slot, eviction::share(terms, found, now));
    }
}

/// Whether a counter is in the same window as before, and no less was counted.
fn goes_on(before: Found, after: Found) -> bool {
    match (before, after) {
        (Found::Window { used, end }, Found::Window { used: now, end: same })
        | (Found::Windows { used, end, .. }, Found::Windows { used: now, end: same, .. }) => end == same && used <= now,
        _ => false,
    }
}

/// The time from `now` to the end of a window, of which the lower 32 bits were kept: windows are shorter than
/// half of that range, so the sign of the difference tells the past from the future.
#[inline(always)]
fn seconds_left(window_end: u32, now: u64) -> i64 {
    i64::from(window_end.wrapping_sub(now as u32) as i32)
}

/// What a counter's slot is known by in its set: a part of the hash that has none in the choice of the set. Two of a million
/// counters are taken for one another in one table of a thousand.
#[inline(always)]
fn tag(hash: u64) -> u32 {
    // Zero marks a slot that was never used.
    ((hash >> 32) as u32 & !ARRIVAL).max(1)
}

/// The tag of a sliding window, which differs from that of the windows beside it.
fn window_tag(hash: u64, window: u64) -> u32 {
    tag(hash ^ (window & 1) << 62)
}

fn arrival_tag(hash: u64) -> u32 {
    tag(hash) | ARRIVAL
}

#[cfg(test)]
mod tests;
