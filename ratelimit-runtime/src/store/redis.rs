//! Counters in Redis or Valkey, shared by every server.
//!
//! Each worker has its own connection, on its own thread: nothing crosses threads on the way of a request. It is
//! made at the worker's first check, so an application starts whether or not its Redis is up.

mod denied;
mod health;
mod link;
mod script;

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::Client;
use tokio::{
    runtime,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot, watch,
    },
};

use self::{
    denied::Denied,
    health::Health,
    link::{Answer, Check, Link, Settings},
};
use crate::{
    error::Error,
    store::{Hits, Outcome, Outcomes},
};

/// The store did not decide: it is down, or late, or answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFailed;

pub(crate) struct RedisStore {
    /// Tells the connections of this limiter from those of others on the same thread.
    id: u64,
    settings: Arc<Settings>,
    /// Ends the connections' tasks when it is dropped.
    alive: watch::Sender<()>,
}

/// A worker's end of its connection.
struct Handle {
    store: u64,
    /// A thread may run one runtime after another, or one within another: a task is of one of them.
    runtime: runtime::Id,
    checks: UnboundedSender<Check>,
    down: Arc<AtomicBool>,
    denied: Denied,
}

/// What a worker does with a request.
enum Sent {
    /// Redis is asked.
    Asked(oneshot::Receiver<Answer>),
    /// It is known to be refused.
    Denied(Outcome),
}

thread_local! {
    static HANDLES: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

impl RedisStore {
    pub(crate) fn new(url: &str, prefix: String, deadline: Duration) -> Result<Self, Error> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let client = open(url)?;
        let health = Health::new(client.get_connection_info().addr().to_string());
        Ok(Self {
            id: IDS.fetch_add(1, Relaxed),
            settings: Arc::new(Settings { client, prefix, deadline, health }),
            alive: watch::Sender::new(()),
        })
    }

    /// Checks and counts one request, within the deadline.
    pub(crate) async fn hit(&self, hits: &Hits) -> Result<Outcomes, StoreFailed> {
        let Answer { outcomes, ends } = match self.with_handle(|handle| handle.send(hits))? {
            Sent::Denied(outcome) => return Ok(Outcomes::from_elem(outcome, 1)),
            Sent::Asked(answer) => answer.await.map_err(|_| StoreFailed)?,
        };
        if let ([hit], [outcome]) = (&hits[..], &outcomes[..])
            && outcome.over
        {
            // Redis has decided; where the connection has ended meanwhile, there is nothing to remember it in.
            HANDLES.with_borrow_mut(|handles| {
                if let Some(handle) = handles.iter_mut().find(|handle| handle.store == self.id) {
                    handle.denied.remember(hit, outcome, ends);
                }
            });
        }
        Ok(outcomes)
    }

    /// Does something with this thread's connection, which is made on first use.
    fn with_handle<T>(&self, act: impl FnOnce(&mut Handle) -> Result<T, StoreFailed>) -> Result<T, StoreFailed> {
        // Actix runs every handler within a runtime; for whoever polls one by hand, the store fails.
        let runtime = runtime::Handle::try_current().map_err(|_| StoreFailed)?;
        HANDLES.with_borrow_mut(|handles| {
            let ours = |handle: &Handle| {
                handle.store == self.id && handle.runtime == runtime.id() && !handle.checks.is_closed()
            };
            if !handles.iter().any(ours) {
                // Those whose limiter or runtime has ended go on this occasion.
                handles.retain(|handle| !handle.checks.is_closed());
                handles.push(self.start(&runtime));
            }
            handles.iter_mut().find(|handle| ours(handle)).ok_or(StoreFailed).and_then(act)
        })
    }

    /// Starts the task that owns this thread's connection.
    fn start(&self, runtime: &runtime::Handle) -> Handle {
        let (sender, checks) = unbounded_channel();
        let down = Arc::new(AtomicBool::new(false));
        let link = Link { settings: Arc::clone(&self.settings), checks, down: Arc::clone(&down) };
        runtime.spawn(link.run(self.alive.subscribe()));
        Handle { store: self.id, runtime: runtime.id(), checks: sender, down, denied: Denied::new() }
    }
}

impl Handle {
    /// Hands a check to the connection, if it is not known to be down, nor what it would say.
    fn send(&self, hits: &Hits) -> Result<Sent, StoreFailed> {
        if self.down.load(Relaxed) {
            return Err(StoreFailed);
        }
        // Of a request with several rules, Redis alone knows what the others hold.
        if let [hit] = &hits[..]
            && hit.refuses
            && let Some(outcome) = self.denied.refuse(hit)
        {
            return Ok(Sent::Denied(outcome));
        }
        let (reply, answer) = oneshot::channel();
        self.checks.send(Check { hits: hits.clone(), reply }).map_err(|_| StoreFailed)?;
        Ok(Sent::Asked(answer))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.settings.health).finish()
    }
}

/// Reads a URL; nothing is connected yet.
fn open(url: &str) -> Result<Client, Error> {
    let error = |part, reason: String| Err(Error::Url { part, reason });
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(reason @ url::ParseError::InvalidPort) => return error("port", reason.to_string()),
        Err(
            reason @ (url::ParseError::EmptyHost
            | url::ParseError::IdnaError
            | url::ParseError::InvalidIpv4Address
            | url::ParseError::InvalidIpv6Address
            | url::ParseError::InvalidDomainCharacter),
        ) => return error("host", reason.to_string()),
        Err(reason) => return error("syntax", format!("{reason}; write redis://host:port/database")),
    };
    let over_tcp = !parsed.scheme().ends_with("unix");
    if over_tcp && parsed.host_str().is_none_or(str::is_empty) {
        return error("host", format!("is missing; write {}://127.0.0.1/", parsed.scheme()));
    }
    let database = parsed.path().trim_matches('/');
    if over_tcp && !database.is_empty() && database.parse::<u32>().is_err() {
        return error("database", format!("`{}` is not a number", database.escape_debug()));
    }
    if matches!(parsed.scheme(), "rediss" | "valkeys") {
        #[cfg(not(feature = "rustls"))]
        return error("scheme", "TLS is the cargo feature `rustls` of ratelimit-runtime; switch it on".into());
        #[cfg(feature = "rustls")]
        provide_cryptography();
    }
    Client::open(parsed).or_else(|reason| error("path or query", reason.to_string()))
}

/// An application that uses rustls itself has chosen a provider of cryptography for the process; another has none, and
/// rustls does not go without.
#[cfg(feature = "rustls")]
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Refused only if another thread has chosen one meanwhile.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}
