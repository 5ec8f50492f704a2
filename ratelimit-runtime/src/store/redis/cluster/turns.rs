//! Whose turn it is to read the map: one worker reads it for all of the process.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The pause between two readings.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a worker has its turn. One that takes longer is busy, or its runtime stands still, and another one reads.
const LONGEST: Duration = Duration::from_millis(1500);

#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many workers there are.
    workers: usize,
    /// When the turn of one of them began that has not ended.
    began: Option<Instant>,
    /// When the last turn ended.
    ended: Option<Instant>,
}

/// The answer to a worker that would like to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is its turn, from now on.
    Now,
    /// It may ask again then.
    At(Instant),
}

impl Turns {
    /// Another worker is there.
    pub(crate) fn join(&self) {
        self.0.lock().workers += 1;
    }

    /// A worker goes: whether it was the last one.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.0.lock();
        state.workers = state.workers.saturating_sub(1);
        state.workers == 0
    }

    /// Gives the turn to who asks, if nobody has it.
    pub(crate) fn take(&self, now: Instant) -> Turn {
        let mut state = self.0.lock();
        let busy_until = state.began.map(|began| began + LONGEST);
        let rests_until = state.ended.map(|ended| ended + PAUSE);
        match busy_until.or(rests_until).filter(|until| *until > now) {
            Some(until) => Turn::At(until),
            None => {
                state.began = Some(now);
                Turn::Now
            }
        }
    }

    /// Ends the turn that began then, unless another one has begun since.
    pub(crate) fn end(&self, began: Instant) {
        let mut state = self.0.lock();
        if state.began == Some(began) {
            (state.began, state.ended) = (None, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_reads_at_a_time_and_the_next_after_a_pause() {
        let (turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.take(now), Turn::Now);
        assert_eq!(turns.take(now), Turn::At(now + LONGEST));
        turns.end(now);
        assert!(matches!(turns.take(Instant::now()), Turn::At(until) if until <= Instant::now() + PAUSE));
        assert_eq!(turns.take(Instant::now() + PAUSE), Turn::Now);
    }

    #[test]
    fn a_worker_that_does_not_come_to_an_end_is_passed_over() {
        let (turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.take(now), Turn::Now);
        let later = now + LONGEST;
        assert_eq!(turns.take(later), Turn::Now);
        // The end of the first is not that of the second.
        turns.end(now);
        assert_eq!(turns.take(later), Turn::At(later + LONGEST));
    }
}
