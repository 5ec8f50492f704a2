//! Counters in Redis or Valkey, shared by every server.
//!
//! Each worker has its own connections, on its own thread: one to the server, or one to each node of a cluster. No request crosses
//! threads. A connection is opened at the worker's first check, so an application starts whether or not its Redis is up.
//!
//! # The path of one check
//!
//! ```text
//!  RedisStore::check              redis.rs
//!    │ this thread's worker       worker/registry.rs
//!    ▼
//!  Worker::check                  worker.rs
//!    │ decided here?              cache.rs: deny cache and leases
//!    │ key, slot, connection      store/keys.rs, slot.rs, worker/connections.rs, worker/nodes.rs
//!    ▼
//!  Queue::push                    connection/queue.rs
//!    │ checks become a batch      pipeline/batch.rs
//!    ▼
//!  Pipeline::send                 pipeline.rs
//!    │ a batch becomes a call     protocol/plan.rs, protocol/call.rs, protocol/resp.rs
//!    ▼
//!  Redis                          protocol/check/*.lua
//!    │ the reply                  pipeline.rs, protocol/reply.rs
//!    ▼
//!  Connection::answer             connection.rs, connection/answers.rs: the cache learns, the request gets its outcomes
//!    │ or a redirect              worker/follow_redirects.rs sends the check to another node
//!    ▼
//!  RedisStore::wait               redis.rs
//! ```
//!
//! # Who owns what
//!
//! ```text
//!  RedisStore ── Workers ──┬─ Settings, for all threads: topology, key names, health, clock, deny cache
//!                          └─ Worker, one per thread ──┬─ LocalCache
//!                                                      └─ Connections ── ConnectionHandle, one per server
//!                                                                              │ shares the Queue with
//!                                 Connection, a task on that thread ── Queue ── Pipeline ── stream
//! ```
//!
//! # Layers
//!
//! Each imports only from those before it: `work`, `redirect`, `server_error`, `slot`, `transport`, `options`, `failure`, `health`,
//! `protocol`, `pipeline`, `cache`, `topology`, `settings`, `connection`, `worker`, this file.

pub(crate) mod cache;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod health;
pub(crate) mod options;
pub(crate) mod pipeline;
pub(crate) mod protocol;
pub(crate) mod redirect;
pub(crate) mod server_error;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod topology;
pub(crate) mod transport;
pub(crate) mod work;
pub(crate) mod worker;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use smallvec::smallvec;
use tokio::sync::oneshot;

use crate::{
    counter::{Counter, digest::Hashing},
    decision::outcome::Outcomes,
    error::Error,
    rule::{algorithm::Algorithm, terms::Terms},
    store::{
        CounterKey, Hit, Hits, StoreFailed, StoreStep,
        keys::{KeyNames, prefix},
        redis::{
            cache::deny_cache::DenyCache,
            health::Health,
            options::Options,
            pipeline::check::CheckAnswer,
            settings::Settings,
            topology::url,
            transport::connector::Connector,
            work::{KeyedHit, ManualBlock, Overdraft, Refund, Work},
            worker::{WorkerCheck, follow_redirects::RouteEnd, registry::Workers, renewals::RenewedPlace},
        },
        server_clock::SharedClock,
        url::StoreUrl,
    },
};

/// A check whose answer has not come.
pub(crate) struct PendingCheck(PendingAnswer);

enum PendingAnswer {
    Server(oneshot::Receiver<CheckAnswer>),
    Cluster(Pin<Box<dyn Future<Output = Result<Outcomes, StoreFailed>> + Send>>),
}

/// A store in Redis or Valkey.
#[derive(Clone)]
pub(crate) struct RedisStore(Workers);

impl RedisStore {
    /// Reads the URL and the options. It connects nothing yet.
    pub(crate) fn new(
        url: StoreUrl<'_>,
        prefix: String,
        deadline: Duration,
        hashing: &Hashing,
        options: Options,
    ) -> Result<Self, Error> {
        let topology = url::open(url, Connector::new(options.keepalive), options.credentials)?;
        #[cfg(feature = "rustls")]
        topology.set_up_tls(options.tls)?;
        let is_cluster = topology.is_cluster();
        prefix::check(&prefix, is_cluster)?;
        let names = Arc::new(KeyNames::new(prefix, is_cluster, hashing));
        let health = Arc::new(Health::new(topology.name(), names.prefix.clone()));
        let deny_cache = (!is_cluster).then(|| Arc::new(DenyCache::new()));
        let clock = SharedClock::default();
        Ok(Self(Workers::new(Settings { topology, names, deadline, health, clock, deny_cache })))
    }

    /// The server's time since the epoch, if a reply has contained it.
    pub(crate) fn now(&self) -> Option<Duration> {
        self.0.settings.clock.get().map(|clock| clock.at(std::time::Instant::now()))
    }

    /// The key of a counter.
    pub(crate) fn key(&self, counter: &Counter<'_>) -> CounterKey {
        self.0.settings.names.key(counter)
    }

    /// Decides a check by the local cache, or sends it to Redis. `counters` are those of `hits`.
    pub(crate) fn check(&self, hits: &Hits, counters: &[Counter<'_>]) -> StoreStep<PendingCheck> {
        match self.0.with(|worker| worker.check(hits, counters)) {
            Ok(WorkerCheck::Decided(outcomes)) => StoreStep::Decided(outcomes),
            Ok(WorkerCheck::Queued(answer)) => StoreStep::Pending(PendingCheck(PendingAnswer::Server(answer))),
            Ok(WorkerCheck::InSlots(slots)) => {
                let (workers, hits) = (self.0.clone(), hits.clone());
                let answer = Box::pin(workers.check_in_slots(hits, slots));
                StoreStep::Pending(PendingCheck(PendingAnswer::Cluster(answer)))
            }
            Err(StoreFailed) => StoreStep::Failed,
        }
    }

    /// Waits for the answer, until the deadline.
    pub(crate) async fn wait(&self, pending: &mut PendingCheck) -> Result<Outcomes, StoreFailed> {
        match &mut pending.0 {
            PendingAnswer::Server(answer) => match answer.await {
                Ok(CheckAnswer::Decided(outcomes)) => Ok(outcomes),
                Ok(CheckAnswer::Redirected(_)) | Err(_) => Err(StoreFailed),
            },
            PendingAnswer::Cluster(answer) => answer.await,
        }
    }

    /// Renews the place of a hit until the result is dropped.
    pub(crate) fn renew(&self, key: CounterKey, hit: Hit) -> Option<RenewedPlace> {
        self.0.renew(key, hit)
    }

    /// Refunds tokens that were taken in the window that ends at `window_end`; of concurrency, the place of that name.
    pub(crate) async fn refund(
        &self,
        key: CounterKey,
        hit: &Hit,
        window_end: u64,
        tokens: u64,
    ) -> Result<(), StoreFailed> {
        self.forget(hit, false)?;
        self.send(Work::Refund(Refund { key, terms: hit.terms, window_end, tokens })).await.map(drop)
    }

    /// Takes tokens in the window that ends at `window_end`, whether or not they fit, and returns how many.
    pub(crate) async fn overdraw(
        &self,
        key: CounterKey,
        hit: &Hit,
        window_end: u64,
        tokens: u64,
    ) -> Result<u64, StoreFailed> {
        // A counter holds no more.
        let tokens = tokens.min(u32::MAX.into());
        self.forget(hit, false)?;
        let outcomes = self.send(Work::Overdraft(Overdraft { key, terms: hit.terms, window_end, tokens })).await?;
        Ok(outcomes.first().map_or(0, |outcome| outcome.taken))
    }

    /// Reads a counter. The cost of `hit` is zero.
    pub(crate) async fn peek(&self, key: CounterKey, hit: Hit) -> Result<Outcomes, StoreFailed> {
        self.send(Work::Count(smallvec![KeyedHit { hit, key, tokens: 0, is_refill: false }])).await
    }

    /// Whether all servers count.
    pub(crate) async fn ping(&self) -> Result<(), StoreFailed> {
        self.0.ping().await
    }

    /// Removes a counter, and its block.
    pub(crate) async fn reset(&self, key: CounterKey, hit: &Hit) -> Result<(), StoreFailed> {
        self.forget(hit, true)?;
        let block_key = hit.block.map(|_| self.0.settings.names.block_key(&key));
        self.send(Work::Reset(key, hit.terms)).await?;
        // The block goes last. A request in between is refused by the block. Otherwise it could find a full counter and start another block.
        if let Some(key) = block_key {
            // The key of a block has no window. The key of places has none, either.
            let terms = Terms { algorithm: Algorithm::Concurrency, ..hit.terms };
            self.send(Work::Reset(key, terms)).await?;
        }
        Ok(())
    }

    /// Blocks the subject of a counter for so many seconds, if the rule blocks.
    pub(crate) async fn block(&self, key: &CounterKey, hit: &Hit, seconds: u32) -> Result<(), StoreFailed> {
        let Some(block) = hit.block else { return Ok(()) };
        self.forget(hit, false)?;
        let key = self.0.settings.names.block_key(key);
        self.send(Work::Block(ManualBlock { key, seconds, longest: block.longest() })).await.map(drop)
    }

    /// Makes invalid what this worker remembers of a counter.
    fn forget(&self, hit: &Hit, is_reset: bool) -> Result<(), StoreFailed> {
        self.0.with(|worker| {
            worker.forget(hit, is_reset);
            Ok(())
        })
    }

    async fn send(&self, work: Work) -> Result<Outcomes, StoreFailed> {
        let slot = self.0.with(|worker| Ok(work.key().map_or(0, |key| worker.slot(key))))?;
        match self.0.send(slot, work).await? {
            RouteEnd::Decided(outcomes) => Ok(outcomes),
            // Work on one counter cannot be split.
            RouteEnd::Split => Err(StoreFailed),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&*self.0.settings.health).finish()
    }
}
