//! How requests are answered when the store fails.

use std::{fmt, time::Duration};

use crate::{
    decision::outcome::{Decided, Outcome, Unavailable},
    rule::{algorithm::Algorithm, charge::Charged, on_store_error::OnStoreError},
    store::{Hit, Hits, memory::MemoryStore},
};

/// Stands in for a failing store.
pub(crate) struct Fallback {
    on_store_error: OnStoreError,
    /// The counters as this process has seen them. They are kept from the start, because a failure is not announced.
    local: MemoryStore,
}

impl Fallback {
    pub(crate) fn new(on_store_error: OnStoreError, capacity: usize) -> Self {
        Self { on_store_error, local: MemoryStore::new(capacity) }
    }

    /// Keeps the outcomes of the store.
    pub(crate) fn keep(&self, now: impl Fn() -> Duration, hits: &[Hit], outcomes: &[Outcome]) {
        for (hit, outcome) in hits.iter().zip(outcomes) {
            if self.wants(hit) != OnStoreError::Local {
                continue;
            }
            if hit.block.is_some() {
                self.local.note_block(now(), hit, outcome.is_blocked.then_some(outcome.window_end));
            }
            if outcome.is_blocked {
                // How much is used is not known.
            } else if hit.terms.algorithm != Algorithm::Concurrency {
                let used = hit.terms.capacity().saturating_sub(outcome.remaining);
                self.local.raise(now(), hit, used, outcome.window_end);
            } else if outcome.taken > 0 {
                // Of places, the process knows its own.
                self.local.enter(hit);
            }
        }
    }

    /// Decides a request by the `on_store_error` of each rule, or of the limiter.
    pub(crate) fn hit(&self, now: Duration, hits: &Hits) -> Result<Decided, Unavailable> {
        if hits.iter().any(|hit| self.wants(hit) == OnStoreError::Deny) {
            return Err(Unavailable);
        }
        let is_local = |hit: &&Hit| self.wants(hit) == OnStoreError::Local;
        let counted: Hits = hits.iter().filter(is_local).copied().collect();
        let outcomes = self.local.hit(now, &counted).into_iter();
        let mut outcomes = outcomes.map(|outcome| Outcome { is_degraded: true, ..outcome });
        Ok(hits.iter().map(|hit| if is_local(&hit) { outcomes.next() } else { None }).collect())
    }

    /// Replaces a charge, which was made here or by the store.
    pub(crate) fn settle(&self, now: Duration, hit: &Hit, charged: Charged, actual: u64) -> Charged {
        match self.wants(hit) {
            OnStoreError::Local => self.local.settle(now, hit, charged, actual),
            OnStoreError::Allow | OnStoreError::Deny => charged,
        }
    }

    /// Releases a place, if it was entered here.
    pub(crate) fn release(&self, now: Duration, hit: &Hit) {
        self.local.refund(now, hit, hit.place, 1);
    }

    /// Blocks the subject of a counter as the store does.
    pub(crate) fn block(&self, now: Duration, hit: &Hit, seconds: u32) {
        if self.wants(hit) == OnStoreError::Local {
            self.local.block(now, hit, seconds);
        }
    }

    pub(crate) fn reset(&self, now: Duration, hit: &Hit) {
        self.local.reset(now, hit);
    }

    fn wants(&self, hit: &Hit) -> OnStoreError {
        hit.on_store_error.unwrap_or(self.on_store_error)
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.on_store_error, f)
    }
}
