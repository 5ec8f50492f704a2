//! A worker's connection to Redis, and the task that owns it.
//!
//! The checks that arrive while the worker handles its other requests go out together, as one call of the script;
//! batches do not wait for each other. A batch has one deadline. A check is answered by its sender: to drop it is
//! to say that the store failed.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use smallvec::SmallVec;
use tokio::{
    select,
    sync::{mpsc::UnboundedReceiver, oneshot, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    health::Health,
    script::{self, Reply},
};
use crate::{
    key::{Counter, Name},
    policy::Limit,
    store::{Hit, Hits, Outcomes, decide},
};

/// The most requests that one call of the script decides: it holds up the server's other clients meanwhile.
const LARGEST_BATCH: usize = 256;

/// How long one attempt to connect may take, if the deadline of a check is not longer. An attempt and a pause
/// together are shorter than a second, so that a store is used again within a second of its return.
const ATTEMPT: Duration = Duration::from_millis(300);

/// The pauses between attempts to connect, doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(640);

/// How often a batch is sent again: because the server's clock has passed the end of a window meanwhile, or because
/// the connection turned out to be closed.
const RETRIES: u8 = 3;

/// One request on its way to the store.
pub(super) struct Check {
    pub(super) hits: Hits,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What the store said of one request.
pub(super) struct Answer {
    pub(super) outcomes: Outcomes,
    /// When the window of the first rule ends, at the earliest, by this machine's monotonic clock.
    pub(super) ends: std::time::Instant,
}

/// What every connection of a limiter shares.
pub(super) struct Settings {
    pub(super) client: Client,
    pub(super) prefix: String,
    pub(super) deadline: Duration,
    pub(super) health: Health,
}

/// The task that owns a worker's connection.
pub(super) struct Link {
    pub(super) settings: Arc<Settings>,
    pub(super) checks: UnboundedReceiver<Check>,
    /// Read by the worker: no check is sent here while it is set.
    pub(super) down: Arc<AtomicBool>,
}

/// An open connection, and the server's clock.
struct Session {
    connection: MultiplexedConnection,
    clock: ServerClock,
}

/// Checks that are sent together, and answered by `due`.
struct Batch {
    checks: Vec<Check>,
    /// When it was sent last.
    sent: Instant,
    due: Instant,
    retries: u8,
}

/// A batch, and what came back.
type Landed = (Batch, Result<Reply, Failure>);

/// Why a connection is given up.
#[derive(Debug)]
enum Failure {
    Late(Duration),
    Redis(RedisError),
}

impl Link {
    /// Serves checks until the limiter or the worker is gone.
    pub(super) async fn run(mut self, mut limiter: watch::Receiver<()>) {
        let serve = async {
            let mut batches = Vec::new();
            while let Some(session) = self.connect(&mut batches).await {
                let Some(failure) = self.serve(session, &mut batches).await else { break };
                // A connection that was closed (idle for too long, or by an administrator) may be the only thing
                // that is wrong: what was sent on it gets another, within its time.
                if !failure.is_disconnect() || batches.is_empty() {
                    self.fail(&failure, &mut batches);
                }
            }
        };
        select! {
            () = serve => {}
            // The sender never sends: this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Opens a connection, however long it takes; `None` when the worker is gone.
    ///
    /// The checks that wait do so until the deadline of the first. Once it has passed, they and all that follow are
    /// not kept waiting.
    async fn connect(&mut self, batches: &mut Vec<Batch>) -> Option<Session> {
        let settings = Arc::clone(&self.settings);
        let due = batches.iter().map(|batch| batch.due).min().unwrap_or_else(|| Instant::now() + settings.deadline);
        let mut pause = FIRST_PAUSE;
        while !self.checks.is_closed() {
            let had_failed = self.down.load(Relaxed);
            let mut attempt = pin!(Session::open(&settings, had_failed));
            let in_time = if had_failed { None } else { timeout_at(due, &mut attempt).await.ok() };
            let result = match in_time {
                Some(result) => result,
                None => {
                    self.fail(&Failure::Late(settings.deadline), batches);
                    self.answer_none_until(attempt).await
                }
            };
            match result {
                Ok(session) => {
                    if self.down.swap(false, Relaxed) {
                        settings.health.recovered();
                    } else {
                        let checks = self.waiting();
                        batches.extend((!checks.is_empty()).then_some(Batch::new(checks, due)));
                    }
                    return Some(session);
                }
                Err(failure) => self.fail(&failure, batches),
            }
            // Spread, so that the workers of many servers do not all come back in the same moment.
            self.answer_none_until(sleep(pause.mul_f32(0.5 + fastrand::f32() / 2.0))).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        None
    }

    /// The checks that are in the queue.
    fn waiting(&mut self) -> Vec<Check> {
        std::iter::from_fn(|| self.checks.try_recv().ok()).collect()
    }

    /// Gives up what is under way, and lets the requests know, those that wait and those to come.
    fn fail(&mut self, failure: &Failure, batches: &mut Vec<Batch>) {
        if !self.down.swap(true, Relaxed) {
            self.settings.health.failed(failure);
        }
        batches.clear();
        drop(self.waiting());
    }

    /// A check may have been sent in the moment in which the connection was given up.
    async fn answer_none_until<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            select! {
                output = &mut future => return output,
                Some(check) = self.checks.recv() => drop(check),
            }
        }
    }

    /// Sends checks, beginning with `batches`, and answers them, until something fails: what, with the batches that
    /// it leaves unanswered. `None` when the worker is gone.
    async fn serve(&mut self, mut session: Session, batches: &mut Vec<Batch>) -> Option<Failure> {
        let settings = Arc::clone(&self.settings);
        let mut flights: FuturesUnordered<_> = batches.drain(..).map(|batch| session.send(&settings, batch)).collect();
        let mut arrived = Vec::new();
        loop {
            select! {
                biased;
                Some((batch, result)) = flights.next() => match result {
                    Ok(reply) => {
                        session.clock = ServerClock::new(reply.time);
                        if let Some(again) = batch.answer(reply) {
                            flights.push(session.send(&settings, again));
                        }
                    }
                    Err(failure) => {
                        batches.extend(batch.again());
                        if failure.is_disconnect() {
                            // The other batches on this connection learn it now, too.
                            while let Some((batch, _)) = flights.next().await {
                                batches.extend(batch.again());
                            }
                        }
                        return Some(failure);
                    }
                },
                count = self.checks.recv_many(&mut arrived, LARGEST_BATCH) => {
                    if count == 0 {
                        return None;
                    }
                    // Whose client has gone is not counted.
                    let checks: Vec<Check> = arrived.drain(..).filter(|check| !check.reply.is_closed()).collect();
                    if !checks.is_empty() {
                        let due = Instant::now() + settings.deadline;
                        flights.push(session.send(&settings, Batch::new(checks, due)));
                    }
                }
            }
        }
    }
}

impl Batch {
    fn new(checks: Vec<Check>, due: Instant) -> Self {
        Self { checks, sent: Instant::now(), due, retries: RETRIES }
    }

    /// Answers the checks that the server has decided; the others are to be sent again.
    fn answer(mut self, mut reply: Reply) -> Option<Self> {
        let now = reply.time.as_secs();
        let mut undecided = Vec::new();
        for check in self.checks {
            match reply.next(&check.hits) {
                // Nobody may be waiting any more.
                Some(found) => {
                    let outcomes = decide(&check.hits, &found, now).outcomes;
                    // The server looked at its clock after the batch was sent, so its window ends no earlier.
                    let window_end = outcomes.first().map_or(now, |outcome| outcome.reset);
                    let left = Duration::from_secs(window_end).saturating_sub(reply.time);
                    drop(check.reply.send(Answer { outcomes, ends: (self.sent + left).into_std() }));
                }
                None => undecided.push(check),
            }
        }
        self.checks = undecided;
        if self.checks.is_empty() { None } else { self.again() }
    }

    fn again(mut self) -> Option<Self> {
        self.retries = self.retries.checked_sub(1)?;
        Some(self)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.down.swap(true, Relaxed) {
            self.settings.health.abandoned();
        }
    }
}

impl Session {
    /// Connects, and asks the server for its time. A server that had failed must also show that it counts again,
    /// and in time: one that is full, or a replica, or too slow, would fail the next request.
    async fn open(settings: &Settings, had_failed: bool) -> Result<Self, Failure> {
        // Deadlines are this module's own: the client's do not cover everything.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connect = settings.client.get_multiplexed_async_connection_with_config(&config);
        let attempt = ATTEMPT.max(settings.deadline);
        let mut connection = timeout(attempt, connect).await.map_err(|_| Failure::Late(attempt))??;
        let prove = async {
            let (seconds, micros): (u64, u32) = redis::cmd("TIME").query_async(&mut connection).await?;
            let time = Duration::from_secs(seconds) + Duration::from_micros(micros.into());
            if had_failed {
                script::call(&mut connection, &settings.prefix, &[&[probe()]], time).await?;
            }
            Ok(ServerClock::new(time))
        };
        let late = |_| Failure::Late(settings.deadline);
        let clock = timeout(settings.deadline, prove).await.map_err(late)?.map_err(Failure::Redis)?;
        Ok(Self { connection, clock })
    }

    /// Sends a batch.
    fn send(&self, settings: &Arc<Settings>, mut batch: Batch) -> impl Future<Output = Landed> + use<> {
        batch.sent = Instant::now();
        let (settings, mut connection, now) = (Arc::clone(settings), self.connection.clone(), self.clock.now());
        async move {
            let hits: Vec<_> = batch.checks.iter().map(|check| &check.hits[..]).collect();
            let reply = timeout_at(batch.due, script::call(&mut connection, &settings.prefix, &hits, now)).await;
            let result = match reply {
                Ok(reply) => reply.map_err(Failure::Redis),
                Err(_) => Err(Failure::Late(settings.deadline)),
            };
            (batch, result)
        }
    }
}

/// A counter of the limiter's own, written to see whether the server takes writes. No rule has an empty scope.
fn probe() -> Hit {
    let per = 60;
    let counter = Counter { key: Name::Static("probe"), per, ordinal: 0, scope: SmallVec::new() };
    Hit { counter, limit: Limit { limit: u32::MAX, per }, refuses: true, on_store_error: None }
}

/// The server's time, carried on by this machine's monotonic clock since the server last told it.
#[derive(Clone, Copy)]
struct ServerClock {
    told: Duration,
    at: Instant,
}

impl ServerClock {
    fn new(told: Duration) -> Self {
        Self { told, at: Instant::now() }
    }

    fn now(&self) -> Duration {
        self.told + self.at.elapsed()
    }
}

impl Failure {
    fn is_disconnect(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_io_error() || error.is_connection_dropped())
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(after) => write!(f, "no answer within {after:?}"),
            Self::Redis(error) => error.fmt(f),
        }
    }
}
