//! How a limiter replaces a charge after the check.

use crate::{
    limiter::{LimiterStore, RateLimiter},
    rule::charge::{Change, Charged},
    store::{CounterKey, Hit},
};

impl RateLimiter {
    /// Replaces a charge by `actual` tokens at once; `None` where a shared store must be told. A degraded charge was made in this process.
    pub(crate) fn settle(&self, hit: &Hit, charged: Charged, actual: u64, is_degraded: bool) -> Option<Charged> {
        match &self.0.store {
            LimiterStore::Memory(store) => Some(store.settle(self.now(), hit, charged, actual)),
            LimiterStore::Shared(_, fallback) if is_degraded => Some(fallback.settle(self.now(), hit, charged, actual)),
            LimiterStore::Shared(..) => None,
        }
    }

    /// Replaces a charge by `actual` tokens in a shared store, and in what this process has seen of it.
    pub(crate) async fn settle_in_store(&self, key: CounterKey, hit: &Hit, charged: Charged, actual: u64) -> Charged {
        match &self.0.store {
            LimiterStore::Memory(store) => store.settle(self.now(), hit, charged, actual),
            LimiterStore::Shared(store, fallback) => {
                let now = self.now();
                fallback.settle(now, hit, charged, actual);
                let lacking = match charged.change(&hit.terms, actual, now) {
                    Change::Nothing => 0,
                    Change::Refund(tokens) => {
                        // If it fails, the request stays charged. A second refund might be one too many.
                        let _ = store.refund(key, hit, charged.window_end, tokens).await;
                        0
                    }
                    Change::Take(tokens) => {
                        let taken = store.overdraw(key, hit, charged.window_end, tokens).await;
                        tokens.saturating_sub(taken.unwrap_or(0))
                    }
                };
                charged.changed(&hit.terms, actual, lacking)
            }
        }
    }
}
