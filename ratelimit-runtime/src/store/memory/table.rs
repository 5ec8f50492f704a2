//! A flat table of sets of slots, each set under a lock of its own, in two lines of the processor's cache.
//!
//! A line holds, side by side, five tags of 32 bits and then the five values that they stand for. The half of a word that is
//! left beside the tags holds a gauge of six bits for each of them, and in the first line the set's lock. New
//! counters go into the first free slot: so while a set is not half full, all that a check of a counter that is there
//! touches is one line.
//!
//! All words are atomics, and most are read and written under the lock without any order. They are atomics so that safe
//! code can share them, and so that their allocation is zeroed pages which the operating system hands out as they are
//! touched: a table for a million counters costs a small application next to nothing.

use std::{
    hint,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::Duration,
};

/// Two lines of 64 bytes.
const WORDS: usize = 16;
const WORDS_PER_LINE: usize = 8;
/// The tags are in the words before this one, the values from there on.
const FIRST_VALUE: usize = 3;

/// Four counters for ten slots: one set in three hundred has more counters than slots when as many are live as the
/// capacity says.
const COUNTERS_PER_SET: usize = 4;

/// A quarter of a billion counters take 9 GB.
pub(super) const LARGEST_CAPACITY: usize = 1 << 28;

/// In the first word of a set: somebody has it.
const LOCKED: u64 = 1;

/// The bits of a line's first word that are the gauges of its slots, above the lock's.
const GAUGE_BITS: usize = 6;
const GAUGE: u64 = (1 << GAUGE_BITS) - 1;

pub(super) struct Table {
    words: Box<[AtomicU64]>,
    /// Of the first set among the words: sets begin where lines do.
    first: usize,
    /// The bits of a hash that choose a set: there are a power of two of them.
    mask: usize,
}

/// A set to which nobody else has access until it is dropped.
pub(super) struct Set<'a>(&'a [AtomicU64; WORDS]);

/// The place of a counter in its set: that of its value among the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// What a slot holds: until when it is kept, as the lower 32 bits of the seconds since the epoch, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) kept_until: u32,
    pub(super) number: u32,
}

impl Table {
    /// A table for `capacity` counters, rounded up to a power of two of sets.
    pub(super) fn new(capacity: usize) -> Self {
        let mut sets = capacity.clamp(1, LARGEST_CAPACITY).div_ceil(COUNTERS_PER_SET).next_power_of_two();
        let words: Box<[AtomicU64]> = loop {
            // With one set more than it takes, to begin where a line does.
            match bytemuck::try_zeroed_slice_box((sets + 1) * WORDS) {
                Ok(words) => break words,
                // Where there is not so much memory, a smaller table has to do.
                Err(()) => sets = (sets / 2).max(1),
            }
        };
        let first = words.as_ptr().align_offset(WORDS * size_of::<AtomicU64>()).min(WORDS);
        Self { words, first, mask: sets - 1 }
    }

    /// The set to which the counter of `hash` belongs.
    pub(super) fn set(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    /// Waits for a set, which others have for no longer than a check takes.
    #[inline]
    pub(super) fn lock(&self, set: usize) -> Set<'_> {
        let (sets, _) = self.words[self.first..].as_chunks();
        let words = &sets[set];
        if words[0].fetch_or(LOCKED, Acquire) & LOCKED > 0 {
            wait(&words[0]);
        }
        Set(words)
    }
}

/// Whoever has the lock needs some nanoseconds, unless the operating system has put it aside: so there is no queue.
#[cold]
fn wait(lock: &AtomicU64) {
    const SPINS: u32 = 100;
    const PAUSE: Duration = Duration::from_micros(20);
    loop {
        for _ in 0..SPINS {
            if lock.load(Relaxed) & LOCKED == 0 && lock.fetch_or(LOCKED, Acquire) & LOCKED == 0 {
                return;
            }
            hint::spin_loop();
        }
        thread::sleep(PAUSE);
    }
}

impl Drop for Set<'_> {
    #[inline]
    fn drop(&mut self) {
        // While it is locked, nobody else changes this word.
        self.0[0].store(self.0[0].load(Relaxed) & !LOCKED, Release);
    }
}

impl Set<'_> {
    /// The slot with this tag, which is not zero.
    #[inline]
    pub(super) fn find(&self, tag: u32) -> Option<Slot> {
        self.find_in(0, tag).or_else(|| self.find_in(WORDS_PER_LINE, tag))
    }

    /// The slot with the least rank, which `rank` tells by a slot and its number; of equals the first.
    #[cold]
    pub(super) fn least<R: Ord>(&self, rank: impl Fn(Slot, u32) -> R) -> Slot {
        let slots =
            [0, WORDS_PER_LINE].into_iter().flat_map(|line| (line + FIRST_VALUE..line + WORDS_PER_LINE).map(Slot));
        let ranked = slots.zip(0..).min_by_key(|&(slot, number)| rank(slot, number));
        ranked.map_or(Slot(FIRST_VALUE), |(slot, _)| slot)
    }

    #[inline]
    pub(super) fn read(&self, slot: Slot) -> Value {
        let word = self.value(slot).load(Relaxed);
        Value { kept_until: (word >> 32) as u32, number: word as u32 }
    }

    #[inline]
    pub(super) fn write(&self, slot: Slot, Value { kept_until, number }: Value) {
        self.value(slot).store(u64::from(kept_until) << 32 | u64::from(number), Relaxed);
    }

    /// The gauge of a slot: six bits.
    pub(super) fn gauge(&self, slot: Slot) -> u64 {
        let (word, shift) = self.gauge_bits(slot);
        word.load(Relaxed) >> shift & GAUGE
    }

    pub(super) fn set_gauge(&self, slot: Slot, gauge: u64) {
        let (word, shift) = self.gauge_bits(slot);
        word.store(word.load(Relaxed) & !(GAUGE << shift) | gauge << shift, Relaxed);
    }

    /// Makes it no less than `gauge`.
    #[inline]
    pub(super) fn raise_gauge(&self, slot: Slot, gauge: u64) {
        if self.gauge(slot) < gauge {
            self.set_gauge(slot, gauge);
        }
    }

    /// The first word of a slot's line, and where in it the slot's gauge begins.
    #[inline]
    fn gauge_bits(&self, Slot(slot): Slot) -> (&AtomicU64, usize) {
        (&self.0[slot & WORDS_PER_LINE], 1 + GAUGE_BITS * (slot % WORDS_PER_LINE - FIRST_VALUE))
    }

    /// Gives a slot to the counter with this tag.
    pub(super) fn take(&self, slot: Slot, tag: u32) {
        let (word, upper) = self.tag_word(slot);
        let other = word.load(Relaxed) & if upper { u64::from(u32::MAX) } else { !u64::from(u32::MAX) };
        word.store(other | u64::from(tag) << if upper { 32 } else { 0 }, Relaxed);
    }

    pub(super) fn tag(&self, slot: Slot) -> u32 {
        let (word, upper) = self.tag_word(slot);
        (word.load(Relaxed) >> if upper { 32 } else { 0 }) as u32
    }

    /// The word with a slot's tag, and whether that is its upper half.
    fn tag_word(&self, Slot(slot): Slot) -> (&AtomicU64, bool) {
        let half = slot % WORDS_PER_LINE - FIRST_VALUE + 1;
        (&self.0[slot / WORDS_PER_LINE * WORDS_PER_LINE + half / 2], half % 2 == 1)
    }

    #[inline]
    fn value(&self, Slot(slot): Slot) -> &AtomicU64 {
        &self.0[slot % WORDS]
    }

    /// The slot with this tag in the line that begins at a word.
    #[inline]
    fn find_in(&self, line: usize, tag: u32) -> Option<Slot> {
        let [first, second, third] = [line, line + 1, line + 2].map(|word| self.0[word].load(Relaxed));
        let tags = [first >> 32, second, second >> 32, third, third >> 32];
        let index = tags.iter().position(|&other| other as u32 == tag)?;
        Some(Slot(line + FIRST_VALUE + index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_the_default_capacity_takes_up_to_34_megabytes() {
        let table = Table::new(1_000_000);
        let bytes = table.words.len() * size_of::<AtomicU64>();
        assert!((32_000_000..=34_000_000).contains(&bytes), "{bytes} bytes");
    }
}
