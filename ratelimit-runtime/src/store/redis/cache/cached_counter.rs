//! What a worker remembers of one counter.

use std::time::Instant;

use crate::{
    decision::outcome::Outcome,
    rule::{algorithm::Algorithm, terms::Terms},
    store::{CounterKey, Hit, redis::work::Refund},
};

/// A counter as the server described it last, and the tokens that this worker took from it in advance.
pub(crate) struct CachedCounter {
    pub(crate) hash: u64,
    /// The terms of the request that was sent to Redis.
    pub(crate) terms: Terms,
    /// The least that the counter holds, including the tokens of this worker.
    pub(crate) used: u64,
    pub(crate) window_end: u64,
    /// When more fits, in seconds since the epoch by the server's clock.
    pub(crate) reset: u64,
    /// A block of the subject is in force.
    pub(crate) is_blocked: bool,
    /// The earliest time at which more fits, by this machine's monotonic clock.
    pub(crate) ends: Instant,
    /// Until when the entry is valid.
    pub(crate) until: Instant,
    /// Tokens that were taken from the counter and are not yet spent.
    pub(crate) tokens: u64,
    /// The counter and the terms that the tokens were taken from.
    pub(crate) lease: Option<Box<(CounterKey, Terms)>>,
    /// Until when a lease is in flight, so that no other is taken.
    pub(crate) refill_until: Option<Instant>,
}

/// What a reply of Redis says of a hit.
pub(crate) struct Observation {
    /// What the counter held before.
    pub(crate) used: u64,
    pub(crate) outcome: Outcome,
    /// The earliest time at which the request would fit, or the window ends.
    pub(crate) ends: Instant,
}

/// How a hit stands to a counter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// There are tokens for it.
    Fits,
    /// The counter is full.
    Full,
    /// Only Redis can decide.
    Open,
}

impl CachedCounter {
    pub(crate) fn new(hash: u64, terms: Terms, now: Instant) -> Self {
        let (tokens, lease, refill_until) = (0, None, None);
        let (used, window_end, reset) = (0, 0, 0);
        let (ends, until, is_blocked) = (now, now, false);
        Self { hash, terms, used, window_end, reset, is_blocked, ends, until, tokens, lease, refill_until }
    }

    /// Whether `hit` fits; `None` if the entry is no longer valid.
    pub(crate) fn fit(&self, hit: &Hit, now: Instant) -> Option<Fit> {
        if now >= self.until {
            return None;
        }
        // In a fixed window, handlers that share a counter may have different limits, and requests different costs. With
        // other algorithms the counter drains, and only the same request must wait for the same time.
        if hit.terms.algorithm != Algorithm::FixedWindow && hit.terms != self.terms {
            return Some(Fit::Open);
        }
        let cost = hit.terms.cost;
        if cost == 0 {
            // It always fits, but the entry may be too old to say how much remains.
            return Some(Fit::Open);
        }
        let used_by_others = self.used.saturating_sub(self.tokens);
        Some(match used_by_others.saturating_add(cost) <= hit.terms.capacity().into() {
            true if self.tokens >= cost => Fit::Fits,
            true => Fit::Open,
            false => Fit::Full,
        })
    }

    pub(crate) fn outcome(&self, hit: &Hit, fit: Fit, taken: u64, now: Instant) -> Outcome {
        let left = self.ends.saturating_duration_since(now);
        let retry_after = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let used = self.used.saturating_sub(self.tokens);
        Outcome {
            remaining: u32::try_from(u64::from(hit.terms.capacity()).saturating_sub(used)).unwrap_or(u32::MAX),
            reset: self.reset,
            retry_after: u32::try_from(retry_after).unwrap_or(u32::MAX).max(1),
            over: fit == Fit::Full,
            taken,
            window_end: self.window_end,
            is_degraded: false,
            is_blocked: self.is_blocked,
        }
    }

    /// Gives up the tokens. They are refunded unless their window is over.
    pub(crate) fn refund(&mut self, now: Instant) -> Option<Refund> {
        let tokens = std::mem::take(&mut self.tokens);
        self.used = self.used.saturating_sub(tokens);
        let (key, terms) = *self.lease.take()?;
        (tokens > 0 && now < self.ends).then_some(Refund { key, terms, window_end: self.window_end, tokens })
    }
}
