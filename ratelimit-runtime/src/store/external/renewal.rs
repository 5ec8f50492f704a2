//! Renews the places that requests hold in a store, for as long as the requests run.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    sync::oneshot::{self, error::TryRecvError},
    time::sleep,
};

use crate::store::{CounterKey, Hit, external::ExternalStore};

/// The number of renewals within the `hold` of a place.
const ROUNDS: u32 = 3;

/// A place that is renewed until this is dropped.
pub(crate) struct RenewedExternalPlace {
    /// Dropping this ends the renewals.
    _held: oneshot::Sender<()>,
}

impl ExternalStore {
    /// Renews the place of a hit until the result is dropped.
    pub(crate) fn renew(&self, key: CounterKey, hit: Hit) -> Option<RenewedExternalPlace> {
        let (held, mut released) = oneshot::channel();
        let store = self.clone();
        Handle::try_current().ok()?.spawn(async move {
            let pause = Duration::from_secs(hit.terms.limit.per.into()) / ROUNDS;
            loop {
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = &mut released => return,
                }
                // A renewal is a check of the same place. One that fails is tried again in the next round.
                drop(store.count(&key, hit).await);
                if released.try_recv() == Err(TryRecvError::Closed) {
                    // The renewal may have taken the place again after its release.
                    let _ = store.refund(&key, &hit, hit.place, 1).await;
                    return;
                }
            }
        });
        Some(RenewedExternalPlace { _held: held })
    }
}
