//! A simple model of a counter: all charges with their windows, or one arrival time.
//!
//! The model knows the time of a check only roughly: it lies between two readings of the clock. So it says which answers are possible, and
//! follows the one that the store gave.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use crate::{decision::outcome::Outcome, rule::algorithm::Algorithm, testing::counter::TestCounter};

/// How far the estimate of a store's clock may be off.
pub(super) const TOLERANCE: Duration = Duration::from_millis(100);

const NANOS: u64 = 1_000_000_000;

/// The model of a counter.
pub(super) struct Model {
    algorithm: Algorithm,
    limit: u64,
    per: u64,
    /// The tokens taken in each window, by its end; of concurrency, the places by their names.
    taken: BTreeMap<u64, u64>,
    /// GCRA's arrival time, in nanoseconds.
    arrival: u64,
}

impl Model {
    pub(super) fn new(counter: &TestCounter) -> Self {
        let limit = counter.terms.limit;
        let (capacity, per) = (counter.terms.capacity().into(), limit.per.into());
        Self { algorithm: counter.terms.algorithm, limit: capacity, per, taken: BTreeMap::new(), arrival: 0 }
    }

    /// How much may be used at a time, in the window that ends at `window_end`.
    fn used(&self, window_end: u64, at: Duration) -> u64 {
        let window = |end: u64| self.taken.get(&end).copied().unwrap_or(0);
        match self.algorithm {
            Algorithm::FixedWindow => window(window_end),
            Algorithm::SlidingWindow => {
                let micros = u128::from(self.per) * 1_000_000;
                let left = Duration::from_secs(window_end).saturating_sub(at).as_micros().min(micros);
                let before = u128::from(window(window_end - self.per)) * left;
                window(window_end) + u64::try_from(before.div_ceil(micros)).unwrap_or(u64::MAX)
            }
            Algorithm::Gcra { .. } => self.arrival.saturating_sub(nanos(at)).div_ceil(self.emission()).min(self.limit),
            Algorithm::Concurrency => self.taken.len() as u64,
        }
    }

    /// One token of GCRA comes back in this time.
    fn emission(&self) -> u64 {
        self.per * NANOS / self.limit
    }

    /// Compares the outcome of a check between two times with what is possible, and follows it.
    pub(super) fn check(
        &mut self,
        cost: u64,
        place: u64,
        outcome: &Outcome,
        times: [Duration; 2],
    ) -> Result<(), String> {
        let window_end = match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => outcome.window_end,
            Algorithm::Gcra { .. } | Algorithm::Concurrency => 0,
        };
        if window_end % self.per > 0 {
            return Err(format!("a window ends at {window_end}, which is no multiple of {}", self.per));
        }
        let (first, last) = (times[0].saturating_sub(TOLERANCE), times[1] + TOLERANCE);
        let latest = last.as_secs() + self.per;
        if window_end > 0 && (window_end > latest || window_end + self.per < first.as_secs()) {
            return Err(format!("at {last:?}, a window ends at {window_end}"));
        }
        // Usage falls with time.
        let used: RangeInclusive<u64> = self.used(window_end, last)..=self.used(window_end, first);
        let fits = |used: u64| cost == 0 || used + cost <= self.limit;
        let (may_fit, may_refuse) = (fits(*used.start()), !fits(*used.end()));
        let expected = if outcome.over { 0 } else { cost };
        if outcome.over && !may_refuse || !outcome.over && !may_fit || outcome.taken != expected {
            return Err(format!(
                "of {} tokens, {used:?} are used, and {cost} more were answered {outcome:?}",
                self.limit
            ));
        }
        let left = |used: u64| self.limit.saturating_sub(used + outcome.taken);
        let remaining = left(*used.end())..=left(*used.start());
        if !remaining.contains(&outcome.remaining.into()) {
            return Err(format!("{remaining:?} tokens remain after {cost} more, and the answer is {outcome:?}"));
        }
        if outcome.taken == 0 {
            return Ok(());
        }
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.change(window_end, outcome.taken, 0),
            Algorithm::Concurrency => self.change(place, 1, 0),
            Algorithm::Gcra { .. } => {
                let after = |at: Duration| self.arrival.max(nanos(at)) + cost * self.emission();
                let possible = after(first)..=after(last);
                if !possible.contains(&outcome.window_end) {
                    return Err(format!("the tokens are back at {possible:?} ns, and the answer is {outcome:?}"));
                }
                self.arrival = outcome.window_end;
            }
        }
        Ok(())
    }

    /// Follows a change of a charge from `before` to `after` tokens.
    pub(super) fn change(&mut self, window: u64, after: u64, before: u64) {
        if matches!(self.algorithm, Algorithm::Gcra { .. }) {
            let back = (before - after.min(before)) * self.emission();
            self.arrival = self.arrival.saturating_sub(back);
            return;
        }
        let taken = self.taken.entry(window).or_default();
        *taken = (*taken + after).saturating_sub(before);
        if *taken == 0 {
            self.taken.remove(&window);
        }
    }

    pub(super) fn reset(&mut self) {
        self.taken.clear();
        self.arrival = 0;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
