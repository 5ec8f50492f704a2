//! The limiter's side of a store under the public contract: the deadline, the log, and the pauses after failures.

mod availability;
mod health;
pub(crate) mod renewal;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use tokio::{runtime::Handle, task::JoinHandle, time::timeout_at};

use crate::{
    counter::{Counter, digest::Hashing},
    decision::outcome::Outcomes,
    error::Error,
    rule::{algorithm::Algorithm, held::Correction, limit::Limit, terms::Terms},
    store::{
        CounterKey, Hit, Hits, StoreFailed, StoreStep,
        contract::{
            erased::ErasedStore,
            error::StoreError,
            operation::{Answer, Kind, Operation, OperationHit},
        },
        external::{availability::Availability, health::ExternalHealth},
        keys::{KeyNames, prefix},
        printable::Printable,
        server_clock::SharedClock,
    },
};

/// A store of any type.
#[derive(Clone)]
pub(crate) struct ExternalStore(Arc<Shared>);

struct Shared {
    store: Arc<dyn ErasedStore>,
    names: KeyNames,
    deadline: Duration,
    clock: SharedClock,
    availability: Availability,
    health: ExternalHealth,
}

/// An operation that is under way. It goes on if this is dropped.
pub(crate) struct PendingOperation(JoinHandle<Result<Answer, StoreFailed>>);

impl ExternalStore {
    pub(crate) fn new(
        store: Arc<dyn ErasedStore>,
        prefix: String,
        deadline: Duration,
        hashing: &Hashing,
    ) -> Result<Self, Error> {
        prefix::check(&prefix, false)?;
        let health = ExternalHealth::new(store.name());
        let names = KeyNames::new(prefix, false, hashing);
        let availability = Availability::new(Instant::now());
        Ok(Self(Arc::new(Shared { store, names, deadline, clock: SharedClock::default(), availability, health })))
    }

    /// The store's time since the epoch, if an operation has shown it.
    pub(crate) fn now(&self) -> Option<Duration> {
        self.0.clock.get().map(|clock| clock.at(Instant::now()))
    }

    pub(crate) fn key(&self, counter: &Counter<'_>) -> CounterKey {
        self.0.names.key(counter)
    }

    /// Starts a check. `counters` are those of `hits`.
    pub(crate) fn check(&self, hits: &Hits, counters: &[Counter<'_>]) -> StoreStep<PendingOperation> {
        let counters = hits.iter().zip(counters).map(|(hit, counter)| self.counter(&self.key(counter), *hit));
        match self.start(Kind::Count, counters.collect()) {
            Ok(pending) => StoreStep::Pending(pending),
            Err(StoreFailed) => StoreStep::Failed,
        }
    }

    /// Waits for the outcomes of a check, until the deadline.
    pub(crate) async fn wait(&self, pending: &mut PendingOperation) -> Result<Outcomes, StoreFailed> {
        match pending.answer().await? {
            Answer::Decided(outcomes) => Ok(outcomes),
            Answer::Done(_) => Err(StoreFailed),
        }
    }

    /// Refunds tokens that were taken in the window that ends at `window_end`; of concurrency, the place of that name.
    pub(crate) async fn refund(
        &self,
        key: &CounterKey,
        hit: &Hit,
        window_end: u64,
        tokens: u64,
    ) -> Result<(), StoreFailed> {
        let refund = Kind::Correct(Correction::Refund { window_end, tokens });
        self.start(refund, [self.counter(key, *hit)].into())?.answer().await.map(drop)
    }

    /// Takes tokens in the window that ends at `window_end`, whether or not they fit, and returns how many.
    pub(crate) async fn overdraw(
        &self,
        key: &CounterKey,
        hit: &Hit,
        window_end: u64,
        tokens: u64,
    ) -> Result<u64, StoreFailed> {
        let overdraft = Kind::Correct(Correction::Overdraw { window_end, tokens: tokens.min(u32::MAX.into()) });
        match self.start(overdraft, [self.counter(key, *hit)].into())?.answer().await? {
            Answer::Done(taken) => Ok(taken),
            Answer::Decided(_) => Err(StoreFailed),
        }
    }

    /// Counts a hit, or reads its counter if the hit costs nothing.
    pub(crate) async fn count(&self, key: &CounterKey, hit: Hit) -> Result<Outcomes, StoreFailed> {
        self.wait(&mut self.start(Kind::Count, [self.counter(key, hit)].into())?).await
    }

    /// Removes a counter.
    pub(crate) async fn reset(&self, key: &CounterKey, hit: &Hit) -> Result<(), StoreFailed> {
        self.start(Kind::Reset, [self.counter(key, *hit)].into())?.answer().await.map(drop)
    }

    /// Writes a text in place of a counter's value.
    #[cfg(feature = "testing")]
    pub(crate) async fn plant(&self, key: &CounterKey, hit: Hit, text: &'static str) -> Result<(), StoreFailed> {
        self.start(Kind::Plant(text), [self.counter(key, hit)].into())?.answer().await.map(drop)
    }

    /// Blocks the subject of a counter for so many seconds.
    pub(crate) async fn block(&self, key: &CounterKey, hit: &Hit, seconds: u32) -> Result<(), StoreFailed> {
        self.start(Kind::Block(seconds), [self.counter(key, *hit)].into())?.answer().await.map(drop)
    }

    /// Has the store count a check in a counter of its own.
    pub(crate) async fn ping(&self) -> Result<(), StoreFailed> {
        let limit = Limit { limit: u32::MAX, per: 60 };
        let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
        let hit = Hit { hash: 0, terms, refuses: false, lease: 1, on_store_error: None, place: 0, block: None };
        let key = CounterKey::Written(format!("{}/ping", self.0.names.prefix));
        self.count(&key, hit).await.map(drop)
    }

    /// Prepares the database.
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        let store = &self.0.store;
        let failed = |error: StoreError| Error::Migration {
            store: Printable(&store.name()).to_string(),
            reason: Printable(&error).to_string(),
        };
        store.migrate().await.map_err(failed)
    }

    fn counter(&self, key: &CounterKey, hit: Hit) -> OperationHit {
        let names = &self.0.names;
        let block_key = hit.block.map(|_| names.bounded_name(&names.block_key(key)));
        OperationHit { hit, key: names.bounded_name(key), block_key }
    }

    /// Starts an operation in a task of its own, so that it ends whether or not its request goes on.
    fn start(&self, kind: Kind, hits: SmallVec<[OperationHit; 1]>) -> Result<PendingOperation, StoreFailed> {
        let runtime = Handle::try_current().map_err(|_| StoreFailed)?;
        let started = Instant::now();
        if !self.0.availability.admits(started) {
            return Err(StoreFailed);
        }
        let operation = Operation::new(kind, hits, started + self.0.deadline);
        let shared = Arc::clone(&self.0);
        Ok(PendingOperation(runtime.spawn(async move { shared.carry_out(operation, started).await })))
    }
}

impl Shared {
    async fn carry_out(&self, operation: Operation, started: Instant) -> Result<Answer, StoreFailed> {
        let deadline = operation.deadline().into();
        let updated = timeout_at(deadline, self.store.update(operation)).await;
        let late = || StoreError::of_store(format_args!("no answer within {:?}", self.deadline));
        match updated.unwrap_or_else(|_| Err(late())) {
            Ok(applied) => {
                self.clock.observe(applied.now(), started, Instant::now());
                self.availability.succeeded();
                self.health.succeeded();
                Ok(applied.into_answer())
            }
            Err(error) => {
                if error.is_of_store() {
                    self.availability.failed(Instant::now());
                    self.health.failed(&error);
                } else {
                    self.health.refused(&error);
                }
                Err(StoreFailed)
            }
        }
    }
}

impl PendingOperation {
    async fn answer(&mut self) -> Result<Answer, StoreFailed> {
        // A store that panics fails. The panic is in the log already.
        (&mut self.0).await.unwrap_or(Err(StoreFailed))
    }
}

impl fmt::Debug for ExternalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.store.name()).finish()
    }
}
