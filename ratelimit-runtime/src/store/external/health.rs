//! The log's messages about a store.

use std::{
    borrow::Cow,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::store::{contract::error::StoreError, episode::Episode, printable::Printable};

/// The failures of a store that the log reports.
#[derive(Debug)]
pub(super) struct ExternalHealth {
    name: Cow<'static, str>,
    /// Whether the last operation failed because of the store.
    is_failing: AtomicBool,
    outage: Mutex<Episode>,
    refusals: Mutex<Episode>,
}

impl ExternalHealth {
    pub(super) fn new(name: Cow<'static, str>) -> Self {
        Self { name, is_failing: AtomicBool::new(false), outage: Mutex::default(), refusals: Mutex::default() }
    }

    pub(super) fn succeeded(&self) {
        if self.is_failing.load(Relaxed) && self.is_failing.swap(false, Relaxed) {
            let name = Printable(&self.name);
            lock(&self.outage).end(|lasted| log::warn!("rate limit store {name} is back after {lasted:.1?}"));
        }
    }

    pub(super) fn failed(&self, error: &StoreError) {
        self.is_failing.store(true, Relaxed);
        let (name, cause) = (Printable(&self.name), Printable(error));
        lock(&self.outage).fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {name} fails: {cause}; requests are answered as on_store_error says until it is back (RL022)"
            ),
            Some(lasted) => log::error!("rate limit store {name} has been failing for {lasted:.0?}: {cause} (RL022)"),
        });
    }

    /// Reports that one check failed, while the store works.
    pub(super) fn refused(&self, error: &StoreError) {
        let (name, cause) = (Printable(&self.name), Printable(error));
        let mut refusals = lock(&self.refusals);
        refusals.checks += 1;
        let refused = refusals.checks;
        refusals.fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {name} refuses checks: {cause}; they are answered as on_store_error says, and others are counted (RL023)"
            ),
            Some(lasted) => {
                log::error!("rate limit store {name} has refused {refused} checks in {lasted:.0?}: {cause} (RL023)");
            }
        });
    }
}

fn lock(episode: &Mutex<Episode>) -> MutexGuard<'_, Episode> {
    episode.lock().unwrap_or_else(PoisonError::into_inner)
}
