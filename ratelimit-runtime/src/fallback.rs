//! What becomes of a request when the store fails.

use std::{fmt, time::Duration};

use once_cell::sync::OnceCell;

use crate::{
    policy::OnStoreError,
    store::{Checked, Denied, Hit, Hits, memory::MemoryStore},
};

/// Stands in for a failing store.
pub(crate) struct Fallback {
    on_store_error: OnStoreError,
    capacity: usize,
    /// Made when the store first fails.
    local: OnceCell<MemoryStore>,
}

impl Fallback {
    pub(crate) fn new(on_store_error: OnStoreError, capacity: usize) -> Self {
        Self { on_store_error, capacity, local: OnceCell::new() }
    }

    /// Does with each hit what its rule wants, or else the limiter.
    pub(crate) fn hit(&self, now: Duration, hits: &Hits) -> Result<Checked, Denied> {
        let wants = |hit: &Hit| hit.on_store_error.unwrap_or(self.on_store_error);
        if hits.iter().any(|hit| wants(hit) == OnStoreError::Deny) {
            return Err(Denied);
        }
        let is_local = |hit: &&Hit| wants(hit) == OnStoreError::Local;
        let counted: Hits = hits.iter().filter(is_local).cloned().collect();
        let local = self.local.get_or_init(|| MemoryStore::new(self.capacity));
        let mut outcomes = local.hit(now, &counted).into_iter();
        Ok(hits.iter().map(|hit| if is_local(&hit) { outcomes.next() } else { None }).collect())
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.on_store_error, f)
    }
}
