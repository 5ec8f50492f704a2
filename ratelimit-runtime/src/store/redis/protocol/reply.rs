//! The reply of the script, and the result of each work in it.

use std::time::Duration;

use redis::RedisError;
use smallvec::SmallVec;

use crate::{
    rule::{
        algorithm::{Algorithm, gcra::NANOS},
        terms::{CounterState, Terms},
    },
    store::{
        Decision, decide,
        redis::{
            protocol::{plan::Plan, resp::ReplyValues},
            work::Work,
        },
    },
};

/// The reply to a batch.
pub(crate) struct Reply {
    /// The server's time since the epoch.
    pub(crate) time: Duration,
    plan: Plan,
    values: ReplyValues,
}

/// The result of one work.
pub(crate) enum WorkResult<'a> {
    /// What the counters held before the request, and the decision that follows.
    Decided(&'a [CounterState], Decision),
    /// Other work is done. For a mark, this is its value.
    Done(i64),
    /// The server failed this work and counted nothing.
    Failed(&'a RedisError),
}

/// A time in a reply, limited so that sums with it cannot overflow.
pub(crate) fn server_time(seconds: u64, micros: u64) -> Duration {
    /// In the year 2286, as in the script.
    const LATEST: u64 = 9_999_999_999;
    Duration::from_secs(seconds.min(LATEST)) + Duration::from_micros(micros.min(999_999))
}

impl Reply {
    pub(crate) fn new(time: Duration, plan: Plan, values: ReplyValues) -> Self {
        Self { time, plan, values }
    }

    /// How many different works it answers.
    pub(crate) fn counters(&self) -> usize {
        self.plan.runs.len()
    }

    /// Calls `on_result` with the result of each work and its index in `works`. Works without a result must be sent again: the
    /// server counts in another window.
    pub(crate) fn read(&self, works: &[&Work], mut on_result: impl FnMut(usize, WorkResult<'_>)) {
        let mut values = self.values.numbers.iter().copied().skip(2);
        let (mut errors, mut at) = (self.values.errors.iter().peekable(), 2);
        for run in &self.plan.runs {
            let work = self.plan.work(works, *run);
            at += work.values();
            let mut failed = None;
            while let Some((_, error)) = errors.next_if(|(index, _)| *index < at) {
                failed.get_or_insert(error);
            }
            if let Some(error) = failed {
                values.by_ref().take(work.values()).for_each(drop);
                self.plan.members(*run).for_each(|index| on_result(index, WorkResult::Failed(error)));
                continue;
            }
            let Work::Count(hits) = work else {
                let done = values.by_ref().take(work.values()).last().unwrap_or_default();
                // The reset may have removed the counter of a window that is over.
                let is_another_window = |terms: &Terms| {
                    terms.algorithm == Algorithm::FixedWindow
                        && terms.window_end(self.plan.now) != terms.window_end(self.time.as_secs())
                };
                if !matches!(work, Work::Reset(_, terms) if is_another_window(terms)) {
                    self.plan.members(*run).for_each(|index| on_result(index, WorkResult::Done(done)));
                }
                continue;
            };
            // All values are consumed, even if the first says that the window is another one.
            let mut found = SmallVec::<[CounterState; 1]>::new();
            hits.iter()
                .filter_map(|keyed| self.found(&keyed.hit.terms, &mut values))
                .for_each(|state| found.push(state));
            // Behind the values of all rules, the ends of blocks.
            for (index, keyed) in hits.iter().enumerate().filter(|(_, keyed)| keyed.hit.block.is_some()) {
                let ends = values.next().and_then(|ends| u64::try_from(ends).ok()).unwrap_or(0);
                if let Some(found) = found.get_mut(index)
                    && Duration::from_secs(ends) > self.time
                {
                    *found = keyed.hit.terms.blocked(*found, ends, self.time);
                }
            }
            if found.len() < hits.len() {
                continue;
            }
            for index in self.plan.members(*run) {
                let decision = decide(hits.iter().map(|keyed| &keyed.hit), &found, self.time);
                let before = SmallVec::<[CounterState; 1]>::from_slice(&found);
                // Equal works were counted at once: each finds what the one before it has left.
                for ((keyed, found), outcome) in hits.iter().zip(&mut found).zip(&decision.outcomes) {
                    let free = u64::from(keyed.hit.terms.remaining(*found, self.time));
                    let taken = if outcome.taken > 0 { keyed.tokens.min(free) } else { 0 };
                    *found = keyed.hit.terms.take(*found, taken, self.time);
                }
                on_result(index, WorkResult::Decided(&before, decision));
            }
        }
    }

    /// What a counter held; `None` if its window was not the server's. There are enough values.
    fn found(&self, terms: &Terms, values: &mut impl Iterator<Item = i64>) -> Option<CounterState> {
        // Another program may have written more than any limit.
        let mut count = || Some(u32::try_from(u64::try_from(values.next()?).ok()?).unwrap_or(u32::MAX));
        let end = terms.window_end(self.plan.now);
        match terms.algorithm {
            Algorithm::FixedWindow => Some(CounterState::Window { used: count()?, end }),
            Algorithm::Concurrency => Some(CounterState::Places(count()?)),
            Algorithm::SlidingWindow => {
                let (used, before) = (count(), count());
                Some(CounterState::Windows { used: used?, before: before?, end })
            }
            Algorithm::Gcra { .. } => {
                let (seconds, nanos) = (values.next(), values.next());
                let whole = u64::try_from(seconds?).ok()?.saturating_mul(NANOS);
                Some(CounterState::Arrival(whole.saturating_add(nanos?.unsigned_abs())))
            }
        }
    }
}
