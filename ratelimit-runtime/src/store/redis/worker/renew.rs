//! Renews the places that requests of one worker hold, so that Redis keeps them for as long as the requests run.
//!
//! A renewal is a check of the same place: the script finds the place and moves its end. A renewal that comes too late finds the place
//! gone, and takes it again only if there is room, so the limit holds in Redis. The request runs on meanwhile, without a place.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::smallvec;
use tokio::time::sleep;

use crate::store::{
    CounterKey, Hit,
    redis::{
        work::{KeyedHit, Refund, Work},
        worker::{
            registry::{WeakWorkers, Workers},
            renewals::{Renewals, RenewedPlace},
        },
    },
};

impl Workers {
    /// Renews the place of a hit until the result is dropped.
    pub(crate) fn renew(&self, key: CounterKey, hit: Hit) -> Option<RenewedPlace> {
        let renewal = self.with(|worker| {
            let renewals = worker.renewals();
            let (place, is_first) = renewals.add(key, hit);
            if is_first {
                worker.runtime().spawn(run(Arc::clone(renewals), self.downgrade()));
            }
            Ok(place)
        });
        renewal.ok()
    }
}

/// Renews places, until there are none, or the limiter has been dropped.
async fn run(renewals: Arc<Renewals>, workers: WeakWorkers) {
    while let Some(pause) = renewals.pause() {
        tokio::select! {
            () = sleep(pause) => {}
            () = renewals.shorter.notified() => continue,
        }
        let Some(workers) = workers.upgrade() else { return };
        join_all(renewals.due().into_iter().map(|keyed| renew(&renewals, &workers, keyed))).await;
    }
}

/// Renews a place. If its request has ended meanwhile, the renewal may have taken it again.
async fn renew(renewals: &Renewals, workers: &Workers, keyed: KeyedHit) {
    let KeyedHit { hit, key, .. } = keyed.clone();
    // A renewal that fails is tried again in the next round.
    let Ok(slot) = workers.with(|worker| Ok(worker.slot(&key))) else { return };
    drop(workers.send(slot, Work::Count(smallvec![keyed])).await);
    if !renewals.holds(hit.place) {
        let release = Refund { key, terms: hit.terms, window_end: hit.place, tokens: 1 };
        drop(workers.send(slot, Work::Refund(release)).await);
    }
}
