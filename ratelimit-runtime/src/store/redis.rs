//! Counters in Redis or Valkey, shared by every server.
//!
//! Each worker has its own connection, on its own thread, and one to each node of a cluster: nothing crosses threads on
//! the way of a request. It is made at the worker's first check, so an application starts whether or not its Redis is
//! up.

mod batch;
mod blame;
#[cfg(feature = "rustls")]
mod certificates;
mod cluster;
mod credentials;
mod denials;
mod endpoint;
mod fetch;
mod flights;
mod health;
mod known;
mod lane;
mod link;
mod login;
mod names;
mod patience;
mod prefix;
mod printable;
mod probe;
mod recovery;
mod refusals;
mod resolver;
mod resp;
mod routing;
mod script;
mod sentinel;
mod server_clock;
mod session;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
mod url;
mod worker;

use std::{
    cell::RefCell,
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
use tokio::{
    runtime,
    sync::{oneshot, watch},
};

pub use self::credentials::Credentials;
pub(crate) use self::credentials::Provider;
use self::{
    batch::{Answer, Ask, Refund, Work},
    denials::Denials,
    health::Health,
    names::Names,
    routing::Reached,
    server_clock::SharedClock,
    stream::Transport,
    url::Deployment,
    worker::Worker,
};
use crate::{
    counter::{Counter, digest::Hashing},
    decision::outcome::{Outcome, Outcomes},
    error::Error,
    store::{CounterKey, Hit, Hits, url::StoreUrl},
};

/// The store did not decide: it is down, or late, or answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFailed;

/// A check, as far as it got at once.
pub(crate) enum Begun {
    Decided(Outcomes),
    Asked(Asked),
    Failed,
}

/// A check on its way.
pub(crate) struct Asked(Source);

enum Source {
    Server(oneshot::Receiver<Answer>),
    Cluster(Pin<Box<dyn Future<Output = Result<Outcomes, StoreFailed>> + Send>>),
}

/// What the builder was told of Redis.
#[derive(Debug)]
pub(crate) struct Options {
    /// After which time a TCP connection is kept alive; zero for never.
    pub(crate) keepalive: Duration,
    pub(crate) hashing: Hashing,
    pub(crate) credentials: Option<Arc<Provider>>,
    #[cfg(feature = "rustls")]
    pub(crate) tls: tls::TlsOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(30),
            hashing: Hashing::default(),
            credentials: None,
            #[cfg(feature = "rustls")]
            tls: tls::TlsOptions::default(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct RedisStore {
    /// Tells the connections of this limiter from those of others on the same thread.
    id: u64,
    settings: Arc<Settings>,
    /// Ends the connections' tasks when it is dropped.
    alive: Arc<watch::Sender<()>>,
}

/// What every connection of a limiter shares.
struct Settings {
    deployment: Deployment,
    names: Arc<Names>,
    deadline: Duration,
    health: Health,
    clock: SharedClock,
    /// What all workers refuse by themselves; a cluster has none.
    denials: Option<Arc<Denials>>,
}

thread_local! {
    static WORKERS: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

impl RedisStore {
    pub(crate) fn new(url: StoreUrl<'_>, prefix: String, deadline: Duration, options: Options) -> Result<Self, Error> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let deployment = url::open(url, Transport::new(options.keepalive), options.credentials)?;
        #[cfg(feature = "rustls")]
        deployment.set_up_tls(options.tls)?;
        let is_cluster = matches!(deployment, Deployment::Cluster(_));
        prefix::check(&prefix, is_cluster)?;
        let (names, denials) =
            (Arc::new(Names::new(prefix, is_cluster, &options.hashing)), (!is_cluster).then(Denials::new));
        let health = Health::new(deployment.name(), names.prefix.clone());
        let (clock, denials) = (SharedClock::default(), denials.map(Arc::new));
        Ok(Self {
            id: IDS.fetch_add(1, Relaxed),
            settings: Arc::new(Settings { deployment, names, deadline, health, clock, denials }),
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
    pub(crate) fn begin(&self, hits: &Hits, counters: &[Counter<'_>]) -> Begun {
        match self.with_worker(|worker| worker.begin(hits, counters)) {
            Ok(worker::Begun::Decided(outcomes)) => Begun::Decided(outcomes),
            Ok(worker::Begun::Asked(answer)) => Begun::Asked(Asked(Source::Server(answer))),
            Ok(worker::Begun::InSlots(parts)) => {
                let (store, hits) = (self.clone(), hits.clone());
                Begun::Asked(Asked(Source::Cluster(Box::pin(store.hit_parts(hits, parts)))))
            }
            Err(StoreFailed) => Begun::Failed,
        }
    }

    /// Waits for the answer, for as long as the deadline allows.
    pub(crate) async fn finish(&self, asked: Asked) -> Result<Outcomes, StoreFailed> {
        match asked.0 {
            Source::Server(answer) => match answer.await {
                Ok(Answer::Decided(outcomes)) => Ok(outcomes),
                Ok(Answer::Elsewhere(_)) | Err(_) => Err(StoreFailed),
            },
            Source::Cluster(answer) => answer.await,
        }
    }

    /// Gives back what was taken.
    pub(crate) async fn refund(&self, key: CounterKey, hit: &Hit, outcome: &Outcome) -> Result<(), StoreFailed> {
        self.forget(hit, false)?;
        self.ask_about(Work::GiveBack(refund(key, hit, outcome))).await.map(drop)
    }

    /// Looks at a counter: `hit` costs nothing.
    pub(crate) async fn peek(&self, key: CounterKey, hit: Hit) -> Result<Outcomes, StoreFailed> {
        self.ask_about(Work::Count(smallvec![Ask { hit, key, lot: 0, is_refill: false }])).await
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
            Reached::Torn => Err(StoreFailed),
        }
    }

    /// Does something with this thread's connections, which are made on first use.
    fn with_worker<T>(&self, act: impl FnOnce(&mut Worker) -> Result<T, StoreFailed>) -> Result<T, StoreFailed> {
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

/// What is given back of an outcome.
fn refund(key: CounterKey, hit: &Hit, outcome: &Outcome) -> Refund {
    Refund { key, terms: hit.terms, window_end: outcome.window_end, tokens: outcome.taken }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.settings.health).finish()
    }
}
