//! What a rule allows and a request takes of a counter, for every algorithm. Pure arithmetic: states and times are passed in.
//!
//! The script in Redis computes the same numbers.

use std::time::Duration;

use crate::rule::{
    algorithm::{Algorithm, fixed_window, gcra::Bucket, sliding_window},
    limit::Limit,
};

/// What a rule allows, and what a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) limit: Limit,
    pub(crate) algorithm: Algorithm,
    /// How many seconds after the epoch a window began.
    pub(crate) phase: u32,
    /// How much of the limit the request takes; more than any limit, if it never fits.
    pub(crate) cost: u64,
}

/// What a store holds of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CounterState {
    /// The count of the window that ends at `end`.
    Window { used: u32, end: u64 },
    /// The counts of the window that ends at `end`, and of the one before.
    Windows { used: u32, before: u32, end: u64 },
    /// GCRA's theoretical arrival time, in nanoseconds since the epoch: that of the rule's own bucket. Rules with different rates
    /// that share a counter have one bucket each.
    Arrival(u64),
    /// How many places requests hold, besides the place of this request.
    Places(u32),
    /// The subject is blocked until then, whatever its counter holds. Its counter has room for the request from `fits_at` on, which is 0 if it
    /// has room now. Both are in seconds since the epoch.
    Blocked { until: u64, fits_at: u64 },
}

impl Terms {
    /// The end of the window in which `now` lies, in seconds since the epoch.
    #[inline]
    pub(crate) fn window_end(&self, now: u64) -> u64 {
        fixed_window::end(self.limit, self.phase, now)
    }

    /// How much may pass at once.
    #[inline]
    pub(crate) fn capacity(&self) -> u32 {
        self.algorithm.capacity(self.limit)
    }

    /// GCRA's bucket.
    #[inline]
    fn bucket(&self) -> Bucket {
        Bucket { rate: self.limit, burst: self.capacity() }
    }

    /// The time in which one token of GCRA comes back, in nanoseconds, rounded up.
    pub(crate) fn emission(&self) -> u64 {
        self.bucket().emission()
    }

    /// How much of the capacity is used, rounded up.
    #[inline]
    pub(crate) fn used(&self, state: CounterState, now: Duration) -> u64 {
        match state {
            CounterState::Window { used, .. } => used.into(),
            CounterState::Windows { used, before, end } => {
                u64::from(used) + sliding_window::weighed(self.limit, before, end, now)
            }
            CounterState::Arrival(arrival) => self.bucket().used(arrival, now),
            CounterState::Places(held) => held.into(),
            CounterState::Blocked { .. } => self.capacity().into(),
        }
    }

    #[inline]
    pub(crate) fn remaining(&self, state: CounterState, now: Duration) -> u32 {
        u64::from(self.capacity()).saturating_sub(self.used(state, now)).try_into().unwrap_or(u32::MAX)
    }

    /// Whether the request fits. One that costs nothing does, unless its subject is blocked.
    #[inline]
    pub(crate) fn fits(&self, state: CounterState, now: Duration) -> bool {
        if let CounterState::Blocked { .. } = state {
            return false;
        }
        self.cost == 0 || self.used(state, now).saturating_add(self.cost) <= self.capacity().into()
    }

    /// The counter after `tokens` were taken from it.
    // In line, so that the path of a fixed window knows what it gets: saves 46 instructions of a check.
    #[inline(always)]
    pub(crate) fn take(&self, state: CounterState, tokens: u64, now: Duration) -> CounterState {
        let more = |used| fixed_window::take(used, tokens);
        match state {
            CounterState::Window { used, end } => CounterState::Window { used: more(used), end },
            CounterState::Windows { used, before, end } => CounterState::Windows { used: more(used), before, end },
            CounterState::Arrival(arrival) => CounterState::Arrival(self.bucket().take(arrival, tokens, now)),
            CounterState::Places(held) => CounterState::Places(more(held)),
            CounterState::Blocked { .. } => state,
        }
    }

    /// The bucket of GCRA after another rule has taken `tokens` from the counter: as many are taken as there are.
    pub(crate) fn take_at_most(&self, state: CounterState, tokens: u64, now: Duration) -> CounterState {
        match state {
            CounterState::Arrival(arrival) => CounterState::Arrival(self.bucket().take_at_most(arrival, tokens, now)),
            state => self.take(state, tokens, now),
        }
    }

    /// A bucket of GCRA from which `used` tokens are taken, or all.
    pub(crate) fn with_used(&self, used: u64, now: Duration) -> CounterState {
        CounterState::Arrival(self.bucket().with_used(used, now))
    }

    /// The counter in the window that ends at `window_end`, which may be a later one than its own; `None` if that is over.
    pub(crate) fn in_window(&self, state: CounterState, window_end: u64) -> Option<CounterState> {
        match state {
            CounterState::Window { end, .. } if end < window_end => {
                Some(CounterState::Window { used: 0, end: window_end })
            }
            CounterState::Window { end, .. } | CounterState::Windows { end, .. } if end != window_end => None,
            state => Some(state),
        }
    }

    /// The counter after `tokens` were taken from it, whether or not they fit, and how many that are. A bucket of GCRA is empty at most.
    pub(crate) fn overdraw(&self, state: CounterState, tokens: u64, now: Duration) -> (CounterState, u64) {
        let after = self.take_at_most(state, tokens, now);
        let taken = match (state, after) {
            (CounterState::Arrival(_), CounterState::Arrival(arrival)) => match self.take(state, 0, now) {
                CounterState::Arrival(before) => arrival.saturating_sub(before) / self.emission(),
                _ => 0,
            },
            (CounterState::Window { used: before, .. }, CounterState::Window { used, .. })
            | (CounterState::Windows { used: before, .. }, CounterState::Windows { used, .. }) => {
                used.saturating_sub(before).into()
            }
            _ => 0,
        };
        (after, taken)
    }

    /// The counter after `tokens` were refunded.
    pub(crate) fn refund(&self, state: CounterState, tokens: u64) -> CounterState {
        let less = |used| fixed_window::refund(used, tokens);
        match state {
            CounterState::Window { used, end } => CounterState::Window { used: less(used), end },
            CounterState::Windows { used, before, end } => CounterState::Windows { used: less(used), before, end },
            CounterState::Arrival(arrival) => CounterState::Arrival(self.bucket().refund(arrival, tokens)),
            CounterState::Places(held) => CounterState::Places(less(held)),
            CounterState::Blocked { .. } => state,
        }
    }

    /// The state of a subject that is blocked until then.
    pub(crate) fn blocked(&self, state: CounterState, until: u64, now: Duration) -> CounterState {
        let fits = self.fits(state, now);
        let reset = self.reset(state, fits, now);
        let fits_at = if fits { 0 } else { reset.as_secs() + u64::from(reset.subsec_nanos() > 0) };
        CounterState::Blocked { until, fits_at }
    }

    /// The time at which a request that does not fit will; for one that fits, the time at which the window ends, or all tokens
    /// of GCRA are back. A place may be free in a second.
    #[inline]
    pub(crate) fn reset(&self, state: CounterState, fits: bool, now: Duration) -> Duration {
        match state {
            CounterState::Window { end, .. } => Duration::from_secs(end),
            CounterState::Windows { end, .. } if fits => Duration::from_secs(end),
            CounterState::Windows { used, before, end } => {
                sliding_window::reset(self.limit, self.cost, used, before, end)
            }
            CounterState::Arrival(arrival) => self.bucket().reset(arrival, self.cost, fits, now),
            CounterState::Blocked { until, fits_at } => Duration::from_secs(until.max(fits_at)),
            // Nobody knows when a request ends.
            CounterState::Places(_) => now + Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests;
