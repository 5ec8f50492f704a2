//! The blocks of subjects: a slot for each, in the set of the counter.
//!
//! A slot keeps three numbers: the time until which the state counts, how many seconds before that the block ends, and the level.

use std::time::Duration;

use crate::{
    rule::block::{Block, BlockState, LONGEST_BLOCK},
    store::{
        Hit,
        memory::{
            eviction,
            look::seconds_left,
            table::{Set, Value},
            tag::block_tag,
        },
    },
};

/// How many bits of a number tell how long the state is kept after the block.
const KEPT_BITS: u32 = 24;

const _: () = assert!(LONGEST_BLOCK < 1 << KEPT_BITS);

/// The block of a hit's counter, if there was one.
pub(super) fn held(set: &Set<'_>, hit: &Hit, now: Duration) -> Option<BlockState> {
    hit.block?;
    let Value { kept_until, number } = set.read(set.find(block_tag(hit.hash))?);
    let left = u64::try_from(seconds_left(kept_until, now.as_secs())).ok().filter(|left| *left > 0)?;
    let kept = u64::from(number & ((1 << KEPT_BITS) - 1));
    Some(BlockState { until: (now.as_secs() + left).saturating_sub(kept), level: number >> KEPT_BITS })
}

/// Writes the block of a hit's counter.
pub(super) fn write(set: &Set<'_>, hit: &Hit, block: &Block, state: BlockState, now: Duration) {
    let tag = block_tag(hit.hash);
    let slot = set
        .find(tag)
        .unwrap_or_else(|| eviction::slot(set, tag, |_| false, |kept_until| seconds_left(kept_until, now.as_secs())));
    let kept = block.longest();
    set.write(
        slot,
        Value {
            kept_until: block.kept_until(state) as u32,
            number: kept | state.level.min(u8::MAX.into()) << KEPT_BITS,
        },
    );
    set.take(slot, tag);
    // A block is the last to be evicted.
    eviction::full(0, 1).inspect(|gauge| set.set_gauge(slot, *gauge));
}
