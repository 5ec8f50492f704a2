//! The limiter: a store, and what to do when it fails.

use std::{
    env::VarError,
    fmt,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use actix_web::{HttpRequest, web};
use once_cell::sync::OnceCell;

use crate::{
    clock::Clock,
    error::Error,
    key::Counter,
    mistakes::Lookout,
    policy::Algorithm,
    scope::Clients,
    store::{Checked, Denied, Hit, Hits, Key, Outcome, memory::MemoryStore},
    target::{LimitTarget, Peek, StoreUnavailable},
};
#[cfg(feature = "redis")]
use crate::{
    fallback::Fallback,
    store::redis::{Asked, Begun, RedisStore},
};

/// The environment variable with the store's URL for the process-wide limiter.
const URL_VARIABLE: &str = "RATELIMIT_URL";

/// Counts requests in a store, on behalf of every handler under `#[ratelimit]`.
///
/// One limiter serves a whole application. It is made before [`HttpServer::new`](actix_web::HttpServer::new), and a clone
/// goes into [`App::app_data`](actix_web::App::app_data). Cloning is cheap, and all clones share their counters. A scope or a
/// resource may have another limiter in its own `app_data`.
///
/// A [`web::Data`] or an [`Arc`] around it will do, too. Of several forms that a request meets, the first of these serves,
/// wherever it stands: plain, `Data`, `Arc`, `Data` of `Arc`.
///
/// The log says once, as a warning, when each worker of a server makes its own limiter, when a limiter in `app_data` serves
/// nobody, and when the clients behind a proxy seem to be counted as one: see [`TrustedProxies`](crate::TrustedProxies).
///
/// Where an application has none, a process-wide one serves, made on first use from the environment variable
/// `RATELIMIT_URL`; where it is unset or empty, the limiter counts in memory, and logs a warning once. A variable that makes no sense
/// is logged, and limited handlers answer 500.
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
/// let limiter = RateLimiter::connect("memory://")?;
/// let app = App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(quote);
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Limiter>);

pub(crate) struct Limiter {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) clients: Clients,
    pub(crate) lookout: Lookout,
}

/// A limiter that may be gone.
pub(crate) struct WeakLimiter(Weak<Limiter>);

impl WeakLimiter {
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The name of a form in which a limiter may stand in the application's data, and how it is found there.
type Form = (&'static str, fn(&HttpRequest) -> Option<&RateLimiter>);

pub(crate) enum Store {
    Memory(MemoryStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore, Fallback),
}

/// A check, decided or on its way.
pub(crate) enum Check {
    Done(Result<Checked, Denied>),
    #[cfg(feature = "redis")]
    Asked(Asked),
}

#[cfg_attr(not(feature = "redis"), allow(unused_variables, reason = "a store in this process needs no names"))]
impl RateLimiter {
    pub(crate) fn new(limiter: Limiter) -> Self {
        Self(Arc::new(limiter))
    }

    /// The limiter that serves `request`: its application's, or else the process's.
    #[inline(always)]
    pub(crate) fn of(request: &HttpRequest) -> Result<&Self, &'static Error> {
        match request.app_data::<Self>() {
            Some(limiter) => Ok(limiter),
            None => Self::of_no_plain(request),
        }
    }

    /// The limiter that serves `request`, where its application has no plain one.
    #[inline(never)]
    fn of_no_plain(request: &HttpRequest) -> Result<&Self, &'static Error> {
        match Self::wrapped(request).next() {
            Some((_, limiter)) => Ok(limiter),
            None => of_process(),
        }
    }

    /// The limiters that stand in the application's data within something else, each with the name of its form. Where there is
    /// no plain one, the first serves.
    pub(crate) fn wrapped(request: &HttpRequest) -> impl Iterator<Item = (&'static str, &Self)> {
        const FORMS: [Form; 3] = [
            ("web::Data<RateLimiter>", |request| Some(request.app_data::<web::Data<RateLimiter>>()?.get_ref())),
            ("Arc<RateLimiter>", |request| Some(request.app_data::<Arc<RateLimiter>>()?.as_ref())),
            ("web::Data<Arc<RateLimiter>>", |request| {
                Some(request.app_data::<web::Data<Arc<RateLimiter>>>()?.as_ref())
            }),
        ];
        FORMS.into_iter().filter_map(|(form, find)| Some((form, find(request)?)))
    }

    /// Whether both are clones of one limiter.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn downgrade(&self) -> WeakLimiter {
        WeakLimiter(Arc::downgrade(&self.0))
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.0.store, Store::Memory(_))
    }

    pub(crate) fn lookout(&self) -> &Lookout {
        &self.0.lookout
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.0.clients
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// The time for what is counted in memory, since the epoch.
    #[inline(always)]
    pub(crate) fn now(&self) -> Duration {
        self.0.now()
    }

    /// What a store outside this process knows the counter by.
    pub(crate) fn key(&self, counter: &Counter<'_>) -> Key {
        match &self.0.store {
            Store::Memory(_) => Key::Written(String::new()),
            #[cfg(feature = "redis")]
            Store::Redis(store, _) => store.key(counter),
        }
    }

    /// Checks a request, as far as nobody has to be asked for it. `counters` are those of `hits`.
    #[inline]
    pub(crate) fn begin(&self, hits: &Hits, counters: &[Counter<'_>]) -> Check {
        if hits.is_empty() {
            return Check::Done(Ok(Checked::new()));
        }
        match &self.0.store {
            Store::Memory(store) => Check::Done(Ok(all(&store.hit(self.now(), hits)))),
            #[cfg(feature = "redis")]
            Store::Redis(store, fallback) => match store.begin(hits, counters) {
                Begun::Decided(outcomes) => Check::Done(Ok(self.decided(fallback, hits, &outcomes))),
                Begun::Asked(asked) => Check::Asked(asked),
                Begun::Failed => Check::Done(fallback.hit(self.now(), hits)),
            },
        }
    }

    /// Waits for the answer to a check.
    #[cfg(feature = "redis")]
    pub(crate) async fn finish(&self, hits: &Hits, asked: Asked) -> Result<Checked, Denied> {
        match &self.0.store {
            // It asks nobody.
            Store::Memory(_) => Err(Denied),
            Store::Redis(store, fallback) => match store.finish(asked).await {
                Ok(outcomes) => Ok(self.decided(fallback, hits, &outcomes)),
                Err(_) => fallback.hit(self.now(), hits),
            },
        }
    }

    #[cfg(feature = "redis")]
    fn decided(&self, fallback: &Fallback, hits: &Hits, outcomes: &[Outcome]) -> Checked {
        fallback.keep(|| self.now(), hits, outcomes);
        all(outcomes)
    }

    /// Gives back what `hit` was charged; over a shared store when the future that this returns is awaited.
    pub(crate) fn give_back(self, key: Key, hit: Hit, outcome: Outcome) -> Option<impl Future<Output = ()>> {
        let now = self.now();
        let Outcome { window_end, taken, local, .. } = outcome;
        // By then GCRA's tokens have all come back by themselves, these among them.
        if matches!(hit.terms.algorithm, Algorithm::Gcra { .. }) && now >= Duration::from_nanos(window_end) {
            return None;
        }
        match &self.0.store {
            Store::Memory(store) => store.give_back(now, &hit, window_end, taken),
            #[cfg(feature = "redis")]
            Store::Redis(_, fallback) => fallback.give_back(now, &hit, &outcome),
        }
        let is_shared = !matches!(self.0.store, Store::Memory(_)) && !local;
        is_shared.then_some(async move {
            match &self.0.store {
                Store::Memory(_) => drop(key),
                // If it fails, the request stays counted until its window ends.
                #[cfg(feature = "redis")]
                Store::Redis(store, _) => drop(store.give_back(key, &hit, &outcome).await),
            }
        })
    }

    /// Looks at a counter without counting: what is left, and when it comes back.
    ///
    /// ```
    /// use ratelimit_runtime::{LimitTarget, RateLimiter, StoreUnavailable};
    ///
    /// async fn left(limiter: &RateLimiter, user: &str) -> Result<u32, StoreUnavailable> {
    ///     // As under `#[ratelimit(limit = 5, per = 60, key = "login", scope = "user")]`.
    ///     Ok(limiter.peek(&LimitTarget::new("login", 5, 60).user(user)).await?.remaining())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StoreUnavailable`], if the store does not answer within the deadline.
    pub async fn peek(&self, target: &LimitTarget) -> Result<Peek, StoreUnavailable> {
        let target = target.resolved(self.clients());
        let (hit, counter) = target.hit(self.clients());
        let outcome = match &self.0.store {
            Store::Memory(store) => store.hit(self.now(), std::slice::from_ref(&hit)).first().copied(),
            #[cfg(feature = "redis")]
            Store::Redis(store, _) => store.peek(self.key(&counter), hit).await?.first().copied(),
        };
        outcome.map(|outcome| Peek::new(&hit.terms, outcome)).ok_or(StoreUnavailable)
    }

    /// Forgets what a counter has counted. Every process sees it: at once, or within a second where it refuses by what
    /// it knows already, or has a lease. What was charged before and is given back after (by `count_if`, or unspent tokens of
    /// a lease) is taken from the new count.
    ///
    /// ```
    /// use ratelimit_runtime::{LimitTarget, RateLimiter, StoreUnavailable};
    ///
    /// async fn forgive(limiter: &RateLimiter, user: &str) -> Result<(), StoreUnavailable> {
    ///     limiter.reset(&LimitTarget::new("login", 5, 60).user(user)).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StoreUnavailable`], if the store does not answer within the deadline.
    pub async fn reset(&self, target: &LimitTarget) -> Result<(), StoreUnavailable> {
        let target = target.resolved(self.clients());
        let (hit, counter) = target.hit(self.clients());
        match &self.0.store {
            Store::Memory(store) => store.reset(self.now(), &hit),
            #[cfg(feature = "redis")]
            Store::Redis(store, fallback) => {
                store.reset(self.key(&counter), &hit).await?;
                fallback.reset(self.now(), &hit);
            }
        }
        Ok(())
    }
}

fn of_process() -> Result<&'static RateLimiter, &'static Error> {
    static LIMITER: OnceCell<Result<RateLimiter, Error>> = OnceCell::new();
    LIMITER
        .get_or_init(|| match std::env::var(URL_VARIABLE) {
            Ok(url) if !url.trim().is_empty() => {
                RateLimiter::connect(&url).inspect_err(|error| log::error!("{URL_VARIABLE}: {error}"))
            }
            Ok(_) | Err(VarError::NotPresent) => {
                log::warn!(
                    "no RateLimiter in app_data and no {URL_VARIABLE}: limits are counted in this process's memory"
                );
                Ok(RateLimiter::in_memory())
            }
            Err(VarError::NotUnicode(_)) => {
                log::error!("{URL_VARIABLE}: is not UTF-8");
                Err(Error::Url { part: "encoding", reason: "is not UTF-8".to_owned() })
            }
        })
        .as_ref()
}

impl Limiter {
    /// The time for what is counted in memory, since the epoch.
    #[inline(always)]
    fn now(&self) -> Duration {
        match &self.store {
            Store::Memory(_) => self.clock.now(),
            #[cfg(feature = "redis")]
            Store::Redis(store, _) => self.clock.of_store(store.now()),
        }
    }
}

/// The outcomes of hits that were all counted.
fn all(outcomes: &[Outcome]) -> Checked {
    match *outcomes {
        // As most handlers have it, and cheaper than to gather.
        [outcome] => Checked::from_buf([Some(outcome)]),
        _ => outcomes.iter().copied().map(Some).collect(),
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RateLimiter");
        match &self.0.store {
            Store::Memory(_) => debug.field("store", &"memory"),
            #[cfg(feature = "redis")]
            Store::Redis(store, fallback) => debug.field("store", store).field("fallback", fallback),
        };
        debug.finish_non_exhaustive()
    }
}
