//! The tags by which a set of the table knows a counter's slots.

use crate::rule::terms::Terms;

/// Marks the tags of GCRA's slots.
pub(super) const ARRIVAL: u32 = 1 << 31;

/// The tag of a counter: a part of its hash that does not choose the set. In one of a thousand tables with a million counters, two
/// counters have the same set and tag.
#[inline]
pub(super) fn tag(hash: u64) -> u32 {
    // Zero marks a slot that was never used.
    ((hash >> 32) as u32 & !ARRIVAL).max(1)
}

/// The tag of a sliding window, which differs from that of the windows beside it.
pub(super) fn window_tag(hash: u64, window: u64) -> u32 {
    tag(hash ^ (window & 1) << 62)
}

/// The tag of a block, which differs from those of the counter.
pub(super) fn block_tag(hash: u64) -> u32 {
    tag(hash ^ 1 << 61)
}

/// The tag of a bucket of GCRA, which differs from those of other rates.
pub(super) fn arrival_tag(hash: u64, terms: &Terms) -> u32 {
    // Any odd number that spreads the bits upwards, where the tag is.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let rate = u64::from(terms.limit.limit) | u64::from(terms.capacity()) << 32;
    tag(hash ^ rate.wrapping_mul(SPREAD)) | ARRIVAL
}
