//! The change of a charge after the check.

use std::time::Duration;

use crate::{
    rule::{
        algorithm::Algorithm,
        charge::{Change, Charged},
        terms::CounterState,
    },
    store::{
        Hit,
        memory::{MemoryStore, Shared},
    },
};

impl MemoryStore {
    /// Replaces a charge by `actual` tokens in the window in which it was made, if that still counts.
    pub(crate) fn settle(&self, now: Duration, hit: &Hit, charged: Charged, actual: u64) -> Charged {
        let lacking = match charged.change(&hit.terms, actual, now) {
            Change::Nothing => 0,
            Change::Refund(tokens) => {
                self.refund(now, hit, charged.window_end, tokens);
                0
            }
            Change::Take(tokens) => tokens - self.overdraw(now, hit, charged.window_end, tokens),
        };
        charged.changed(&hit.terms, actual, lacking)
    }

    /// Takes tokens in the window that ends at `window_end`, whether or not they fit, and returns how many.
    fn overdraw(&self, now: Duration, hit: &Hit, window_end: u64, tokens: u64) -> u64 {
        let terms = &hit.terms;
        if terms.algorithm == Algorithm::SlidingWindow && now.as_secs() >= window_end + u64::from(terms.limit.per) {
            return 0;
        }
        let (then, mut taken) = (self.moment_in(now, hit, window_end), 0);
        self.change(then, hit, |found| match found {
            CounterState::Window { end, .. } | CounterState::Windows { end, .. } if end != window_end => None,
            found => {
                let (after, tokens) = terms.overdraw(found, tokens, then);
                taken = tokens;
                Some((after, Shared::Taken(tokens)))
            }
        });
        taken
    }
}
