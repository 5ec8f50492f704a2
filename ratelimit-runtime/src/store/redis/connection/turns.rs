//! When the waiting checks are sent: at once, or after the worker has had a chance to add more.
//!
//! Waking the server dominates the cost of a batch, on both sides. So a busy worker looks once or twice more for checks before
//! it sends those that it has. A lone check waits for nothing.

use std::time::Duration;

use crate::store::redis::connection::queue::Waiting;

/// In how many turns of the worker a batch may grow after the first. A turn is once around all of the worker's connections.
const MOST_TURNS: usize = 2;

/// For how long a batch may grow. Where a turn takes longer, the next one would cost more than it saves.
pub(crate) const LONGEST: Duration = Duration::from_micros(500);

/// Counts the turns in which the waiting checks have grown.
#[derive(Default)]
pub(crate) struct GrowingBatch {
    /// How many checks waited in the last turn.
    checks: usize,
    turns: usize,
}

impl GrowingBatch {
    /// How many checks waited in the last turn. A worker on another thread may have sent some since.
    pub(crate) fn seen(&mut self, waiting: usize) -> usize {
        self.checks = self.checks.min(waiting);
        self.checks
    }

    /// Handles that more checks wait, and returns whether the batch may grow further.
    pub(crate) fn grew(&mut self, waiting: Waiting) -> bool {
        self.checks = waiting.checks;
        self.turns += 1;
        let is_lone = waiting.checks == 1 && waiting.is_idle;
        !is_lone && self.turns <= MOST_TURNS && waiting.age < LONGEST
    }

    /// Starts again, because no check waits.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
