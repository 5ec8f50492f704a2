//! The workers of a limiter, one on each thread that checks requests.

use std::{
    cell::RefCell,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{runtime, sync::watch};

use crate::store::{
    StoreFailed,
    redis::{settings::Settings, worker::Worker},
};

thread_local! {
    static WORKERS: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

/// Finds this thread's worker, and starts it on first use.
#[derive(Clone)]
pub(crate) struct Workers {
    /// Distinguishes the workers of this limiter from those of others on the same thread.
    id: u64,
    pub(crate) settings: Arc<Settings>,
    /// Ends the connections' tasks when it is dropped.
    alive: Arc<watch::Sender<()>>,
}

/// The workers of a limiter that may have been dropped.
pub(crate) struct WeakWorkers {
    id: u64,
    settings: Arc<Settings>,
    alive: Weak<watch::Sender<()>>,
}

impl WeakWorkers {
    pub(crate) fn upgrade(&self) -> Option<Workers> {
        Some(Workers { id: self.id, settings: Arc::clone(&self.settings), alive: self.alive.upgrade()? })
    }
}

impl Workers {
    pub(crate) fn downgrade(&self) -> WeakWorkers {
        WeakWorkers { id: self.id, settings: Arc::clone(&self.settings), alive: Arc::downgrade(&self.alive) }
    }

    pub(crate) fn new(settings: Settings) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self { id: IDS.fetch_add(1, Relaxed), settings: Arc::new(settings), alive: Arc::new(watch::Sender::new(())) }
    }

    /// Calls a function with this thread's worker.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Worker) -> Result<T, StoreFailed>) -> Result<T, StoreFailed> {
        // Actix runs every handler within a runtime. If an application polls one by hand, the store fails.
        let runtime = runtime::Handle::try_current().map_err(|_| StoreFailed)?;
        WORKERS.with_borrow_mut(|workers| {
            let ours = |worker: &&mut Worker| worker.is_of(self.id, runtime.id()) && !worker.is_closed();
            if let Some(worker) = workers.iter_mut().find(ours) {
                return act(worker);
            }
            // Workers whose limiter or runtime has ended are removed here.
            workers.retain(|worker| !worker.is_closed());
            let settings = Arc::clone(&self.settings);
            workers.push(Worker::start(self.id, settings, self.alive.subscribe(), runtime.clone()));
            workers.last_mut().ok_or(StoreFailed).and_then(act)
        })
    }
}
