//! The store of a limiter, and its worker on each thread.

use std::{cell::RefCell, sync::Arc};

use crate::store::redis::{failure::StoreFailed, settings::Settings, worker::Worker};
use tokio::{runtime, sync::watch};

#[derive(Clone)]
pub(crate) struct RedisStore {
    /// Tells the connections of this limiter from those of others on the same thread.
    pub(crate) id: u64,
    pub(crate) settings: Arc<Settings>,
    /// Ends the connections' tasks when it is dropped.
    pub(crate) alive: Arc<watch::Sender<()>>,
}

thread_local! {
    static WORKERS: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

impl RedisStore {
    /// Does something with this thread's connections, which are made on first use.
    pub(crate) fn with_worker<T>(
        &self,
        act: impl FnOnce(&mut Worker) -> Result<T, StoreFailed>,
    ) -> Result<T, StoreFailed> {
        // Actix runs every handler within a runtime; for whoever polls one by hand, the store fails.
        let runtime = runtime::Handle::try_current().map_err(|_| StoreFailed)?;
        WORKERS.with_borrow_mut(|workers| {
            let ours = |worker: &&mut Worker| worker.is_of(self.id, runtime.id()) && !worker.is_closed();
            if let Some(worker) = workers.iter_mut().find(ours) {
                return act(worker);
            }
            // Those whose limiter or runtime has ended go on this occasion.
            workers.retain(|worker| !worker.is_closed());
            let settings = Arc::clone(&self.settings);
            workers.push(Worker::start(self.id, settings, self.alive.subscribe(), runtime.clone()));
            workers.last_mut().ok_or(StoreFailed).and_then(act)
        })
    }
}
