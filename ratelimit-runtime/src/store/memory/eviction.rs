//! Which counter of a full set is evicted for a new one: the least full, whatever its rule.
//!
//! A slot does not know its counter's rule. Its gauge of six bits tells how full the counter is, relative to its own limit:
//!
//! | gauge | the counter |
//! |---|---|
//! | [`USED_UP`] | has nothing left |
//! | [`REFUSES`] | has too little left for another request like the last one |
//! | less, of a window | has about this capacity: it is as full as its count is of that |
//! | less, of GCRA | was as full at its last change; tokens that came back since are not seen |
//!
//! A request writes the gauge only if its counter is new or full, or under GCRA.

use std::time::Duration;

use crate::{
    rule::terms::{CounterState, Terms},
    store::memory::{
        table::{Set, Slot, Value},
        tag::ARRIVAL,
    },
};

const USED_UP: u64 = 63;
const REFUSES: u64 = 62;
const LARGEST: u64 = 61;

/// The bits behind the point in what [`fullness`] computes.
const FRACTION: u32 = 32;

/// The gauge of a counter that is full when so much remains after a request that took `taken`, or nothing.
#[inline]
pub(super) fn full(remaining: u32, taken: u64) -> Option<u64> {
    if u64::from(remaining) >= taken.max(1) {
        return None;
    }
    Some(if remaining == 0 { USED_UP } else { REFUSES })
}

/// The gauge of a new window: its capacity, as the exponent of a power of two and one bit behind it. The capacity is that
/// or up to a half larger; the largest ones are all one.
pub(super) fn capacity(terms: &Terms) -> u64 {
    let capacity = u64::from(terms.capacity()).max(1);
    let exponent = capacity.ilog2();
    let half = (2 * capacity) >> exponent & 1;
    (2 * u64::from(exponent) + half).min(LARGEST)
}

/// The gauge of a counter of GCRA: the share that is used.
pub(super) fn share(terms: &Terms, found: CounterState, now: Duration) -> u64 {
    terms.used(found, now) * LARGEST / u64::from(terms.capacity()).max(1)
}

/// How full a counter is: 1 at its limit, as a number with [`FRACTION`] bits behind the point, and more where it is known to
/// refuse.
fn fullness(tag: u32, number: u32, gauge: u64) -> u64 {
    const FULL: u64 = 1 << FRACTION;
    match gauge {
        REFUSES.. => FULL + gauge,
        _ if tag & ARRIVAL > 0 => (gauge << FRACTION) / LARGEST,
        _ => {
            let twice_the_capacity = (2 + (gauge & 1)) << (gauge / 2);
            ((2 * u64::from(number)) << FRACTION).checked_div(twice_the_capacity).unwrap_or(FULL).min(FULL)
        }
    }
}

/// The slot for a new counter with this tag: the first that is free, else that of the least full counter; among those the
/// one that ends soonest, and then one at random. `is_own` says which slots the new counter goes on from: they go last among
/// equals, and are not free.
#[cold]
pub(super) fn slot(set: &Set<'_>, tag: u32, is_own: impl Fn(Slot) -> bool, seconds_left: impl Fn(u32) -> i64) -> Slot {
    set.least(|slot, number| {
        let Value { kept_until, number: counted } = set.read(slot);
        let (left, is_own) = (seconds_left(kept_until), is_own(slot));
        (left > 0 || is_own).then(|| {
            let fullness = if left > 0 { fullness(set.tag(slot), counted, set.gauge(slot)) } else { 0 };
            // The tag is a part of a keyed hash: nobody outside knows the order of its rotations.
            (fullness, is_own, left, tag.rotate_left(3 * number))
        })
    })
}
