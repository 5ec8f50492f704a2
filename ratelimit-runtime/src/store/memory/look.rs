//! How a counter is found in its set: its slot, or the one that it would take over, and its state.

use std::time::Duration;

use smallvec::SmallVec;

use crate::{
    rule::{
        algorithm::{Algorithm, gcra::NANOS},
        terms::{CounterState, Terms},
    },
    store::memory::{
        eviction,
        rates::Rates,
        table::{Set, Slot, Value},
        tag::{arrival_tag, tag, window_tag},
    },
};

/// Marks a bucket of GCRA that had too few tokens for another rule since it was last full. Nanoseconds need 30 bits.
pub(super) const OVERDRAWN: u32 = 1 << 31;

/// The slot of a counter, or the one that it would take over, and the counter's state.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) slot: Slot,
    /// The tag of the counter.
    pub(super) tag: u32,
    /// Whether the slot holds nothing of this counter: it is another's, or its window is over.
    pub(super) begins: bool,
    pub(super) found: CounterState,
    /// [`OVERDRAWN`], or nothing.
    pub(super) mark: u32,
}

/// Finds a counter in its set, or the slot that it would take over.
pub(super) fn look(set: &Set<'_>, rates: &Rates, hash: u64, terms: &Terms, now: Duration) -> Look {
    match terms.algorithm {
        Algorithm::FixedWindow => look_fixed(set, hash, terms, now),
        Algorithm::SlidingWindow => look_sliding(set, hash, terms, now),
        Algorithm::Gcra { .. } | Algorithm::Concurrency => look_gcra(set, rates, hash, terms, now),
    }
}

#[inline(always)]
pub(super) fn look_fixed(set: &Set<'_>, hash: u64, terms: &Terms, now: Duration) -> Look {
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
pub(super) fn arrival(Value { kept_until, number }: Value, seconds: u64) -> CounterState {
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

/// The time from `now` to the end of a window, of which the lower 32 bits were kept: windows are shorter than
/// half of that range, so the sign of the difference tells the past from the future.
#[inline(always)]
pub(super) fn seconds_left(window_end: u32, now: u64) -> i64 {
    i64::from(window_end.wrapping_sub(now as u32) as i32)
}
