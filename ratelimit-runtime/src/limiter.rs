//! The limiter: a store, and what to do when it fails.

pub(crate) mod answers;
pub(crate) mod builder;
pub(crate) mod clients;
pub(crate) mod fallback;
pub(crate) mod holding;
pub(crate) mod mode;
pub(crate) mod origin;
pub(crate) mod serving;
mod settling;
#[cfg(feature = "testing")]
mod testing;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    counter::Counter,
    decision::outcome::{Decided, Outcome, Outcomes, Unavailable},
    error::Error,
    limiter::{answers::Answers, clients::Clients, fallback::Fallback, mode::Mode, origin::Origin},
    rule::{policy::Policy, prepared::Prepared},
    store::{
        CounterKey, Hits, StoreStep,
        clock::Clock,
        memory::MemoryStore,
        shared::{Pending, SharedStore},
    },
};

/// Counts requests in a store, on behalf of every handler under `#[ratelimit]`.
///
/// One limiter serves a whole application. It is made before [`HttpServer::new`](actix_web::HttpServer::new), and a clone
/// goes into [`App::app_data`](actix_web::App::app_data). Cloning is cheap, and all clones share their counters. A scope or a
/// resource may have another limiter in its own `app_data`.
///
/// The limiter may also be in a [`web::Data`](actix_web::web::Data) or an [`Arc`]. If a request meets several forms, the first of these
/// serves, wherever it stands: plain, `Data`, `Arc`, `Data` of `Arc`.
///
/// The log says once, as a warning, when each worker of a server makes its own limiter, when a limiter in `app_data` serves
/// nobody, and when the clients behind a proxy seem to be counted as one: see [`TrustedProxies`](crate::TrustedProxies).
///
/// An application without a limiter uses one of the process, which is made on first use from the environment variable `RATELIMIT_URL`.
/// If the variable is unset or empty, that limiter counts in memory, and a warning is logged once. If the variable makes no sense, an
/// error is logged, and limited handlers answer 500. [`require_in_app_data`](Self::require_in_app_data) rules that limiter out.
///
/// ```
/// use actix_web::{App, get};
/// use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};
///
/// #[get("/quote")]
/// #[ratelimit(limit = 300, per = 300, scope = "ip")]
/// async fn quote() -> &'static str {
///     "Simplicity is prerequisite for reliability."
/// }
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let limiter = RateLimiter::open("memory://")?;
/// let app = App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote);
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Limiter>);

pub(crate) struct Limiter {
    pub(crate) store: LimiterStore,
    pub(crate) clock: Clock,
    pub(crate) clients: Clients,
    pub(crate) answers: Answers,
    pub(crate) origin: Origin,
    pub(crate) mode: Mode,
}

/// A limiter that may have been dropped.
pub(crate) struct WeakLimiter(Weak<Limiter>);

impl WeakLimiter {
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

pub(crate) enum LimiterStore {
    Memory(MemoryStore),
    Shared(SharedStore, Fallback),
}

/// A decision, or the request to the store that is under way for it.
pub(crate) enum LimiterStep {
    Done(Result<Decided, Unavailable>),
    Pending(Pending),
}

impl RateLimiter {
    pub(crate) fn new(limiter: Limiter) -> Self {
        Self(Arc::new(limiter))
    }

    /// Whether both are clones of one limiter.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn downgrade(&self) -> WeakLimiter {
        WeakLimiter(Arc::downgrade(&self.0))
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.0.store, LimiterStore::Memory(_))
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub(crate) fn mode(&self) -> Mode {
        self.0.mode
    }

    /// The rules of a policy as this limiter checks them; `None` where the policy would share counters that it must not.
    pub(crate) fn rules(&self, policy: &'static Policy) -> Option<&'static [Prepared]> {
        match self.mode() {
            Mode::Enforcing => policy.prepared(),
            Mode::Shadow => policy.prepared_for_shadow(),
            Mode::Disabled => Some(&[]),
        }
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.0.clients
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    #[cfg(feature = "bench-internals")]
    pub(crate) fn store(&self) -> &LimiterStore {
        &self.0.store
    }

    /// The time for counters in memory, since the epoch.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        self.0.now()
    }

    /// The key of a counter in a store outside this process.
    pub(crate) fn key(&self, counter: &Counter<'_>) -> CounterKey {
        match &self.0.store {
            LimiterStore::Memory(_) => CounterKey::Written(String::new()),
            LimiterStore::Shared(store, _) => store.key(counter),
        }
    }

    /// Starts a check. It is decided at once, or a reply of the store is awaited. `counters` are those of `hits`.
    #[inline]
    pub(crate) fn begin(&self, hits: &Hits, counters: &[Counter<'_>]) -> LimiterStep {
        if hits.is_empty() {
            return LimiterStep::Done(Ok(Decided::new()));
        }
        match (&self.0.store, &hits[..]) {
            // One rule, as most handlers have: it saves 40 instructions to gather nothing.
            (LimiterStore::Memory(store), [hit]) => {
                LimiterStep::Done(Ok(Decided::from_buf([Some(store.hit_one(self.now(), hit))])))
            }
            (LimiterStore::Memory(store), hits) => LimiterStep::Done(Ok(all(&store.hit(self.now(), hits)))),
            (LimiterStore::Shared(store, fallback), _) => match store.check(hits, counters) {
                StoreStep::Decided(outcomes) => LimiterStep::Done(Ok(self.decided(fallback, hits, &outcomes))),
                StoreStep::Pending(answer) => LimiterStep::Pending(answer),
                StoreStep::Failed => LimiterStep::Done(fallback.hit(self.now(), hits)),
            },
        }
    }

    /// Waits for the answer to a check.
    pub(crate) async fn finish(&self, hits: &Hits, pending: &mut Pending) -> Result<Decided, Unavailable> {
        match &self.0.store {
            // Memory decides at once.
            LimiterStore::Memory(_) => Err(Unavailable),
            LimiterStore::Shared(store, fallback) => match store.wait(pending).await {
                Ok(outcomes) => Ok(self.decided(fallback, hits, &outcomes)),
                Err(_) => fallback.hit(self.now(), hits),
            },
        }
    }

    fn decided(&self, fallback: &Fallback, hits: &Hits, outcomes: &[Outcome]) -> Decided {
        fallback.keep(|| self.now(), hits, outcomes);
        all(outcomes)
    }

    /// Reads the counters of hits that cost nothing.
    pub(crate) async fn read(&self, hits: &Hits, keys: Vec<CounterKey>) -> Result<Outcomes, Unavailable> {
        match &self.0.store {
            LimiterStore::Memory(store) => Ok(store.hit(self.now(), hits)),
            LimiterStore::Shared(store, _) => {
                let mut outcomes = Outcomes::new();
                for (hit, key) in hits.iter().zip(keys) {
                    outcomes.extend(store.peek(key, *hit).await.map_err(|_| Unavailable)?);
                }
                Ok(outcomes)
            }
        }
    }

    /// Asks the store whether it counts.
    pub(crate) async fn ask_store(&self) -> Result<(), Unavailable> {
        match &self.0.store {
            LimiterStore::Memory(_) => Ok(()),
            LimiterStore::Shared(..) if self.mode() == Mode::Disabled => Ok(()),
            LimiterStore::Shared(store, _) => store.ping().await.map_err(|_| Unavailable),
        }
    }

    /// Prepares the store's database.
    pub(crate) async fn prepare_store(&self) -> Result<(), Error> {
        match &self.0.store {
            LimiterStore::Shared(store, _) if self.mode() != Mode::Disabled => store.migrate().await,
            _ => Ok(()),
        }
    }

    /// Blocks the subjects of hits for so many seconds, under rules that block.
    pub(crate) async fn block_for(&self, hits: &Hits, keys: Vec<CounterKey>, seconds: u32) -> Result<(), Unavailable> {
        for (hit, key) in hits.iter().zip(keys) {
            match &self.0.store {
                LimiterStore::Memory(store) => store.block(self.now(), hit, seconds),
                LimiterStore::Shared(store, fallback) => {
                    store.block(&key, hit, seconds).await.map_err(|_| Unavailable)?;
                    fallback.block(self.now(), hit, seconds);
                }
            }
        }
        Ok(())
    }

    /// Removes the counters of hits.
    pub(crate) async fn clear(&self, hits: &Hits, keys: Vec<CounterKey>) -> Result<(), Unavailable> {
        for (hit, key) in hits.iter().zip(keys) {
            match &self.0.store {
                LimiterStore::Memory(store) => store.reset(self.now(), hit),
                LimiterStore::Shared(store, fallback) => {
                    store.reset(key, hit).await.map_err(|_| Unavailable)?;
                    fallback.reset(self.now(), hit);
                }
            }
        }
        Ok(())
    }
}

impl Limiter {
    /// The time for counters in memory, since the epoch.
    #[inline]
    fn now(&self) -> Duration {
        match &self.store {
            LimiterStore::Memory(_) => self.clock.now(),
            LimiterStore::Shared(store, _) => self.clock.of_store(store.now()),
        }
    }
}

/// The outcomes of hits that were all counted.
fn all(outcomes: &[Outcome]) -> Decided {
    outcomes.iter().copied().map(Some).collect()
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RateLimiter");
        match &self.0.store {
            LimiterStore::Memory(_) => debug.field("store", &"memory"),
            LimiterStore::Shared(store, fallback) => debug.field("store", store).field("fallback", fallback),
        };
        debug.finish_non_exhaustive()
    }
}
