//! A request's charge under one rule, and what it takes to replace it. Pure arithmetic: times are passed in.

use std::time::Duration;

use crate::{
    decision::outcome::{Outcome, shifted},
    rule::{algorithm::Algorithm, terms::Terms},
};

/// What a request was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charged {
    pub(crate) tokens: u64,
    /// The end of the window from which they were taken, in seconds since the epoch. Of GCRA, the time at which they are back, in
    /// nanoseconds.
    pub(crate) window_end: u64,
}

/// What replaces a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    Refund(u64),
    /// Tokens to take, whether or not they fit.
    Take(u64),
}

impl Charged {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Self { tokens: outcome.taken, window_end: outcome.window_end }
    }

    /// The change after which `actual` tokens are charged.
    pub(crate) fn change(self, terms: &Terms, actual: u64, now: Duration) -> Change {
        let late = match terms.algorithm {
            // Windows that are over are known where they are counted.
            Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::Concurrency => None,
            Algorithm::Gcra { .. } => now.checked_sub(Duration::from_nanos(self.window_end)),
        };
        match (actual.checked_sub(self.tokens), late) {
            (Some(0), _) => Change::Nothing,
            (Some(more), None) => Change::Take(more),
            (None, None) => Change::Refund(self.tokens - actual),
            // All tokens of GCRA have come back by themselves, and since then some of those that are charged now would have.
            (None, Some(_)) => Change::Nothing,
            (Some(more), Some(late)) => {
                let back = u64::try_from(late.as_nanos() / u128::from(terms.emission())).unwrap_or(u64::MAX);
                more.checked_sub(back).filter(|more| *more > 0).map_or(Change::Nothing, Change::Take)
            }
        }
    }

    /// The charge after a change to `actual` that lacked some tokens, because a bucket had fewer.
    pub(crate) fn changed(self, terms: &Terms, actual: u64, lacking: u64) -> Self {
        let tokens = actual.saturating_sub(lacking);
        let window_end = match terms.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::Concurrency => self.window_end,
            Algorithm::Gcra { .. } => shifted(self.window_end, self.tokens, tokens, terms.emission()),
        };
        Self { tokens, window_end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::limit::Limit;

    const SECOND: u64 = 1_000_000_000;

    fn terms(algorithm: Algorithm) -> Terms {
        Terms { limit: Limit { limit: 10, per: 10 }, algorithm, phase: 0, cost: 1 }
    }

    #[test]
    fn the_difference_is_refunded_or_taken() {
        let charged = Charged { tokens: 5, window_end: 100 };
        let change = |actual| charged.change(&terms(Algorithm::FixedWindow), actual, Duration::from_secs(50));
        assert_eq!([change(0), change(5), change(30)], [Change::Refund(5), Change::Nothing, Change::Take(25)]);
    }

    #[test]
    fn tokens_of_a_bucket_that_would_have_come_back_are_not_taken() {
        let (charged, terms) = (Charged { tokens: 5, window_end: 100 * SECOND }, terms(Algorithm::Gcra { burst: 10 }));
        let change = |actual, now| charged.change(&terms, actual, Duration::from_secs(now));
        assert_eq!(
            [change(9, 99), change(9, 102), change(9, 200)],
            [Change::Take(4), Change::Take(2), Change::Nothing]
        );
        assert_eq!([change(1, 99), change(1, 100)], [Change::Refund(4), Change::Nothing]);
        assert_eq!(charged.changed(&terms, 9, 3), Charged { tokens: 6, window_end: 101 * SECOND });
        assert_eq!(charged.changed(&terms, 1, 0), Charged { tokens: 1, window_end: 96 * SECOND });
    }
}
