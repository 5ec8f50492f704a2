//! The arithmetic of blocks: a subject that a rule refuses stays refused for a while, and for longer each time. Times are passed in.

use std::time::Duration;

/// The longest block, in seconds: 90 days.
pub(crate) const LONGEST_BLOCK: u32 = 90 * 86_400;

/// The durations of a rule's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The seconds of the first block, the second and so on, in ascending order. There is at least one.
    pub(crate) durations: &'static [u32],
}

/// The state of a block in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockState {
    /// When it ends, in seconds since the epoch.
    pub(crate) until: u64,
    /// The number of blocks so far, at most the number of durations.
    pub(crate) level: u32,
}

impl Block {
    /// The longest block, in seconds. After so long without a block, the next one is the first again.
    pub(crate) fn longest(&self) -> u32 {
        self.durations.last().copied().unwrap_or(0)
    }

    /// The block that a refusal starts.
    pub(crate) fn next(&self, held: Option<BlockState>, now: Duration) -> BlockState {
        let level = self.recent(held, now).map_or(0, |held| held.level);
        let level = level.saturating_add(1).min(u32::try_from(self.durations.len()).unwrap_or(u32::MAX));
        let seconds = self.durations.get(level as usize - 1).copied().unwrap_or(0);
        BlockState { until: after(now, seconds), level }
    }

    /// A block of so many seconds by hand. It leaves the level as it is.
    pub(crate) fn by_hand(&self, held: Option<BlockState>, seconds: u32, now: Duration) -> BlockState {
        let level = self.recent(held, now).map_or(0, |held| held.level);
        BlockState { until: after(now, seconds), level }
    }

    /// Until when the state counts, in seconds since the epoch.
    pub(crate) fn kept_until(&self, state: BlockState) -> u64 {
        state.until.saturating_add(self.longest().into())
    }

    /// The state, if it still counts. A state far in the future is from before the clock was set back.
    pub(crate) fn recent(&self, held: Option<BlockState>, now: Duration) -> Option<BlockState> {
        let latest = now.as_secs() + 2 * u64::from(LONGEST_BLOCK);
        held.filter(|held| self.kept_until(*held) > now.as_secs() && held.until <= latest)
    }

    /// When the block ends, if there is one at this time.
    pub(crate) fn until(&self, held: Option<BlockState>, now: Duration) -> Option<u64> {
        let until = self.recent(held, now)?.until;
        (Duration::from_secs(until) > now).then_some(until)
    }
}

/// The time so many seconds from now, rounded up to a second, so that no block is too short.
fn after(now: Duration, seconds: u32) -> u64 {
    now.as_secs() + u64::from(now.subsec_nanos() > 0) + u64::from(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Block = Block { durations: &[60, 600, 3600] };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_block_after_another_is_longer_up_to_the_last() {
        let mut now = at(1_000_000);
        let mut held = None;
        for (seconds, level) in [(60, 1), (600, 2), (3600, 3), (3600, 3)] {
            let next = BLOCK.next(held, now);
            assert_eq!(next, BlockState { until: now.as_secs() + seconds, level });
            (held, now) = (Some(next), at(next.until + 10));
        }
    }

    #[test]
    fn a_block_calms_down_after_the_longest_without_one() {
        let first = BLOCK.next(None, at(1000));
        assert_eq!(BLOCK.next(Some(first), at(1060 + 3599)).level, 2);
        assert_eq!(BLOCK.next(Some(first), at(1060 + 3600)).level, 1);
    }

    #[test]
    fn a_block_is_no_shorter_than_it_says() {
        let next = BLOCK.next(None, Duration::from_millis(1_000_001));
        assert_eq!(next.until, 1061);
        assert_eq!(BLOCK.until(Some(next), Duration::from_millis(1_060_999)), Some(1061));
        assert_eq!(BLOCK.until(Some(next), at(1061)), None);
    }

    #[test]
    fn a_block_by_hand_keeps_the_level() {
        let first = BLOCK.next(None, at(1000));
        let by_hand = BLOCK.by_hand(Some(first), 5, at(2000));
        assert_eq!(by_hand, BlockState { until: 2005, level: 1 });
        assert_eq!(BLOCK.by_hand(None, 5, at(2000)).level, 0);
        assert_eq!(BLOCK.next(Some(BLOCK.by_hand(None, 5, at(2000))), at(2006)).level, 1);
    }

    #[test]
    fn a_block_from_before_the_clock_was_set_back_is_none() {
        let state = BlockState { until: 1_000_000_000, level: 3 };
        assert_eq!(BLOCK.until(Some(state), at(1000)), None);
        assert_eq!(BLOCK.next(Some(state), at(1000)).level, 1);
    }
}
