//! Counters in Redis or Valkey, shared by every server.
//!
//! Each worker has its own connection, on its own thread, and one to each node of a cluster, so nothing crosses threads on the path
//! of a request. A worker connects at its first check, so an application starts whether or not its Redis is up.
//!
//! ```text
//! a check ──► worker.rs      decides by local_cache.rs (full counters, leases) and deny_cache.rs (full counters of the process),
//!                            or puts the check into the queue of a connection
//!             queue.rs       checks that wait, and the connection that they wait for
//!             connection.rs  the task that owns the connection, and its states
//!             session.rs     an open connection
//!             pipeline.rs    the batches that were sent (batch.rs), as calls of the script (script.rs, order.rs, check.lua, resp.rs)
//!             transport.rs   TCP, TLS or a Unix socket; the login
//! an answer ◄ answer.rs      answers each check of a batch, from which the local cache learns
//! ```
//!
//! `target.rs` says where a connection leads: to a server, to the primary of `sentinel.rs`, or to a node of `cluster.rs`. In a cluster,
//! `routing.rs` follows redirects, and decides checks whose counters are on several nodes.
//!
//! The two caches differ in what they are for. The local cache of a worker needs no lock that another worker holds, and it holds leases,
//! which are the worker's own. The deny cache of the process lets a worker refuse what another worker was told, and it outlasts the
//! second for which the local cache is believed.

mod answer;
mod batch;
mod blame;
mod cluster;
mod connection;
mod deny_cache;
pub(crate) mod failure;
mod health;
mod local_cache;
mod names;
mod order;
mod patience;
mod pipeline;
mod prefix;
mod printable;
mod probe;
mod queue;
mod recovery;
mod redirect;
mod refusals;
mod resp;
mod route;
mod routing;
mod script;
mod sentinel;
mod server_clock;
mod session;
pub(crate) mod settings;
mod slot;
pub(crate) mod store;
mod target;
pub(crate) mod transport;
mod url;
mod work;
mod worker;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use smallvec::smallvec;
use tokio::sync::{oneshot, watch};

use crate::{
    counter::Counter,
    decision::outcome::{Outcome, Outcomes},
    error::Error,
    store::{
        CounterKey, Hit, Hits,
        redis::{
            deny_cache::DenyCache,
            failure::StoreFailed,
            health::Health,
            names::Names,
            route::Reached,
            server_clock::SharedClock,
            settings::{Options, Settings},
            store::RedisStore,
            transport::stream::Transport,
            url::Deployment,
            work::{Answer, KeyedHit, Refund, Work},
        },
        url::StoreUrl,
    },
};

/// A check, as far as it got at once.
pub(crate) enum StoreStep {
    Decided(Outcomes),
    Pending(Pending),
    Failed,
}

/// A check on its way.
pub(crate) struct Pending(Source);

enum Source {
    Server(oneshot::Receiver<Answer>),
    Cluster(Pin<Box<dyn Future<Output = Result<Outcomes, StoreFailed>> + Send>>),
}

impl RedisStore {
    pub(crate) fn new(url: StoreUrl<'_>, prefix: String, deadline: Duration, options: Options) -> Result<Self, Error> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let deployment = url::open(url, Transport::new(options.keepalive), options.credentials)?;
        #[cfg(feature = "rustls")]
        deployment.set_up_tls(options.tls)?;
        let is_cluster = matches!(deployment, Deployment::Cluster(_));
        prefix::check(&prefix, is_cluster)?;
        let (names, deny_cache) =
            (Arc::new(Names::new(prefix, is_cluster, &options.hashing)), (!is_cluster).then(DenyCache::new));
        let health = Health::new(deployment.name(), names.prefix.clone());
        let (clock, deny_cache) = (SharedClock::default(), deny_cache.map(Arc::new));
        Ok(Self {
            id: IDS.fetch_add(1, Relaxed),
            settings: Arc::new(Settings { deployment, names, deadline, health, clock, deny_cache }),
            alive: Arc::new(watch::Sender::new(())),
        })
    }

    /// The server's time since the epoch, as far as it is known.
    pub(crate) fn now(&self) -> Option<Duration> {
        self.settings.clock.get().map(|clock| clock.at(std::time::Instant::now()))
    }

    /// What a counter is called here.
    pub(crate) fn key(&self, counter: &Counter<'_>) -> CounterKey {
        self.settings.names.key(counter)
    }

    /// Checks a request by what this worker knows, or asks for it. `counters` are those of `hits`.
    pub(crate) fn begin(&self, hits: &Hits, counters: &[Counter<'_>]) -> StoreStep {
        match self.with_worker(|worker| worker.begin(hits, counters)) {
            Ok(worker::WorkerStep::Decided(outcomes)) => StoreStep::Decided(outcomes),
            Ok(worker::WorkerStep::Pending(answer)) => StoreStep::Pending(Pending(Source::Server(answer))),
            Ok(worker::WorkerStep::InSlots(parts)) => {
                let (store, hits) = (self.clone(), hits.clone());
                StoreStep::Pending(Pending(Source::Cluster(Box::pin(store.hit_parts(hits, parts)))))
            }
            Err(StoreFailed) => StoreStep::Failed,
        }
    }

    /// Waits for the answer, for as long as the deadline allows.
    pub(crate) async fn finish(&self, asked: Pending) -> Result<Outcomes, StoreFailed> {
        match asked.0 {
            Source::Server(answer) => match answer.await {
                Ok(Answer::Decided(outcomes)) => Ok(outcomes),
                Ok(Answer::Elsewhere(_)) | Err(_) => Err(StoreFailed),
            },
            Source::Cluster(answer) => answer.await,
        }
    }

    /// Refunds what was taken.
    pub(crate) async fn refund(&self, key: CounterKey, hit: &Hit, outcome: &Outcome) -> Result<(), StoreFailed> {
        self.forget(hit, false)?;
        self.ask_about(Work::Refund(Refund::of(key, hit, outcome))).await.map(drop)
    }

    /// Looks at a counter: `hit` costs nothing.
    pub(crate) async fn peek(&self, key: CounterKey, hit: Hit) -> Result<Outcomes, StoreFailed> {
        self.ask_about(Work::Count(smallvec![KeyedHit { hit, key, take: 0, is_refill: false }])).await
    }

    /// Forgets what was counted.
    pub(crate) async fn reset(&self, key: CounterKey, hit: &Hit) -> Result<(), StoreFailed> {
        self.forget(hit, true)?;
        self.ask_about(Work::Reset(key, hit.terms)).await.map(drop)
    }

    /// Believes no longer what this process knows of a counter.
    fn forget(&self, hit: &Hit, is_reset: bool) -> Result<(), StoreFailed> {
        self.with_worker(|worker| {
            worker.forget(hit, is_reset);
            Ok(())
        })
    }

    async fn ask_about(&self, work: Work) -> Result<Outcomes, StoreFailed> {
        let slot = self.with_worker(|worker| Ok(work.key().map_or(0, |key| worker.slot(key))))?;
        match self.ask(slot, work).await? {
            Reached::Decided(outcomes) => Ok(outcomes),
            // It is about one counter.
            Reached::Split => Err(StoreFailed),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.settings.health).finish()
    }
}
