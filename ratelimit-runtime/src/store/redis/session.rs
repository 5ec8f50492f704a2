//! An open connection to a server.

use std::{
    fmt,
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use redis::{RedisError, RedisResult};
use tokio::{sync::watch, time::Instant};

use super::{
    Settings,
    batch::Batch,
    blame::Blame,
    cluster::{Map, Node, Redirect},
    endpoint::{Address, Endpoint, Progress, Step},
    flights::{Flights, Landed},
    patience::Patience,
    probe, script,
    sentinel::Sentinel,
    server_clock::ServerClock,
    stream::Stream,
};

/// How long one attempt to connect may take, if the deadline of a check is not longer. An attempt and a pause
/// together are shorter than a second, so that a store is used again within a second of its return.
const ATTEMPT: Duration = Duration::from_millis(300);

/// Where a worker's connection leads.
pub(super) enum Place {
    Server(Endpoint),
    Primary(Arc<Sentinel>),
    Node { endpoint: Endpoint, node: Node, map: watch::Receiver<Arc<Map>> },
}

/// An open connection, and the server's clock.
pub(super) struct Session {
    pub(super) flights: Flights,
    address: Address,
    pub(super) clock: ServerClock,
}

/// Why a connection is given up.
#[derive(Debug)]
pub(super) enum Failure {
    Late(Duration),
    /// An attempt to connect was late.
    LateIn(Step, Duration),
    /// The cluster has no slots.
    NoSlots,
    /// The server ended the connection, when nothing was under way on it.
    Ended,
    Redis(RedisError),
}

impl Session {
    /// Connects, and learns the server's time.
    pub(super) async fn open(settings: &Settings, place: &Place, progress: &Progress) -> Result<Self, Failure> {
        let (mut stream, address) = connect(settings, place, progress).await?;
        // An answer has the time that one has for a check: a server that is slow, and within that time, is used.
        let sent = Instant::now();
        let time = Patience::new(settings.deadline).wait(stream.ask(redis::cmd("TIME"))).await;
        let (seconds, micros) = time.ok_or(Failure::LateIn(progress.step(), settings.deadline))??;
        let clock = ServerClock::new(script::server_time(seconds, micros), sent.into_std());
        Ok(Self::new(settings, stream, address, clock))
    }

    /// Connects to a server that had failed: it must also show that it counts again, and in time. One that is full, or a replica,
    /// or too slow, would fail the next request.
    pub(super) async fn open_again(settings: &Settings, place: &Place) -> Result<Self, Failure> {
        let (stream, address) = connect(settings, place, &Progress::default()).await?;
        // The probe tells the time, too: each question less is a turn less of a worker that may be busy.
        let now = Instant::now().into_std();
        let clock = settings.clock.get().unwrap_or_else(|| ServerClock::new(system_time(), now));
        let mut session = Self::new(settings, stream, address, clock);
        for _ in 0..probe::ATTEMPTS {
            let (sent, time) = session.now();
            session.flights.push_whole(probe::batch(settings, place), sent, time);
            let Landed { batch, reply, read } = session.flights.next().await?;
            match reply {
                Ok(reply) => {
                    session.clock.hear(reply.time, batch.sent.into_std(), read.into_std());
                    if probe::is_counted(&batch, &reply)? {
                        break;
                    }
                }
                // It has no slots, and takes none of the checks; but it answers.
                Err(error) if place.redirect(&error).is_some() => break,
                // Whatever keeps it from counting these, it works.
                Err(error) if Blame::of(&error) == Blame::Check => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(session)
    }

    fn new(settings: &Settings, stream: Stream, address: Address, clock: ServerClock) -> Self {
        let flights = Flights::new(stream, Arc::clone(&settings.names), settings.deadline);
        Self { flights, address, clock }
    }

    /// The server's address.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a batch, when the next one that comes back is waited for.
    pub(super) fn send(&mut self, batch: Batch) {
        let (sent, time) = self.now();
        self.flights.push(batch, sent, time);
    }

    /// The time, here and at the server.
    fn now(&self) -> (Instant, Duration) {
        let now = Instant::now();
        (now, self.clock.at(now.into_std()))
    }
}

/// Connects and logs in.
async fn connect(settings: &Settings, place: &Place, progress: &Progress) -> Result<(Stream, Address), Failure> {
    let attempt = ATTEMPT.max(settings.deadline);
    let late = || Failure::LateIn(progress.step(), attempt);
    // Each by itself: a busy worker needs several turns for either.
    progress.begin(Step::Place);
    let endpoint = Patience::new(attempt).wait(place.endpoint()).await.ok_or_else(late)??;
    let stream = Patience::new(attempt).wait(endpoint.open_with(progress)).await.ok_or_else(late)??;
    progress.begin(Step::Question);
    Ok((stream, endpoint.address))
}

/// What the server's time is likely to be, before it has told it.
fn system_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Place {
    /// Whom to connect to.
    async fn endpoint(&self) -> RedisResult<Endpoint> {
        match self {
            Self::Server(endpoint) | Self::Node { endpoint, .. } => Ok(endpoint.clone()),
            Self::Primary(sentinel) => sentinel.primary().await,
        }
    }

    /// Where else to ask, if that is what a node of a cluster says. Of a server that is alone, it is a failure like any other.
    pub(super) fn redirect(&self, error: &RedisError) -> Option<Redirect> {
        match self {
            Self::Node { node, .. } => Redirect::of(error, node),
            Self::Server(_) | Self::Primary(_) => None,
        }
    }

    /// Waits until a connection to `address` is one to the wrong server, though that may not say so.
    pub(super) async fn leave(&self, address: Address) {
        match self {
            Self::Primary(sentinel) => sentinel.wait_for_other_than(&address).await,
            Self::Server(_) | Self::Node { .. } => pending().await,
        }
    }
}

impl Failure {
    pub(super) fn is_disconnect(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Redis(error) => error.is_io_error() || error.is_connection_dropped(),
            Self::Late(_) | Self::LateIn(..) | Self::NoSlots => false,
        }
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
            Self::LateIn(step, after) => write!(f, "no answer within {after:?} {step}"),
            Self::NoSlots => f.write_str("no node has slots: is this a cluster?"),
            Self::Ended => f.write_str("the connection was closed"),
            Self::Redis(error) => error.fmt(f),
        }
    }
}
