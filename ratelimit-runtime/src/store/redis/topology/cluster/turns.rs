//! Turns: one worker at a time reads the map, for all workers of the process.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The pause between two readings.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest turn. A worker that takes longer is busy, or its runtime stands still, and another one reads.
const LONGEST: Duration = Duration::from_millis(1500);

#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<TurnState>);

#[derive(Debug, Default)]
struct TurnState {
    /// How many workers there are.
    workers: usize,
    /// When the current turn started.
    started: Option<Instant>,
    /// When the last turn ended.
    ended: Option<Instant>,
}

/// The answer to a worker that wants to read the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its turn starts now.
    Now,
    /// It may try again at this time.
    At(Instant),
}

impl Turns {
    /// Adds a worker.
    pub(crate) fn join(&self) {
        self.0.lock().workers += 1;
    }

    /// Removes a worker, and returns whether it was the last one.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.0.lock();
        state.workers = state.workers.saturating_sub(1);
        state.workers == 0
    }

    /// Starts a turn, if no other worker has one.
    pub(crate) fn take(&self, now: Instant) -> Turn {
        let mut state = self.0.lock();
        let busy_until = state.started.map(|started| started + LONGEST);
        let rests_until = state.ended.map(|ended| ended + PAUSE);
        match busy_until.or(rests_until).filter(|until| *until > now) {
            Some(until) => Turn::At(until),
            None => {
                state.started = Some(now);
                Turn::Now
            }
        }
    }

    /// Ends the turn that started then, unless another one has started since.
    pub(crate) fn end(&self, started: Instant) {
        let mut state = self.0.lock();
        if state.started == Some(started) {
            (state.started, state.ended) = (None, Some(Instant::now()));
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
