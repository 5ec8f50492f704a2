//! An open connection to a server.

use std::{fmt, future::pending, pin::pin, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError, RedisResult, aio::MultiplexedConnection};
use smallvec::smallvec;
use tokio::{
    select,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Settings,
    batch::{Ask, Batch, Check, Work},
    cluster::{Map, Node, Redirect},
    flights::Flights,
    script,
    sentinel::Sentinel,
    stream::Stream,
};
use crate::{
    algorithm::Terms,
    key::{Counter, Family, Name, Stem, Who},
    policy::{Algorithm, Limit},
    store::Hit,
};

/// How long one attempt to connect may take, if the deadline of a check is not longer. An attempt and a pause
/// together are shorter than a second, so that a store is used again within a second of its return.
const ATTEMPT: Duration = Duration::from_millis(300);

/// Where a worker's connection leads.
pub(super) enum Place {
    Server(Client),
    Primary(Arc<Sentinel>),
    Node { client: Client, node: Node, map: watch::Receiver<Map> },
}

/// An open connection, and the server's clock.
pub(super) struct Session {
    pub(super) flights: Flights,
    address: ConnectionAddr,
    pub(super) clock: ServerClock,
}

/// Why a connection is given up.
#[derive(Debug)]
pub(super) enum Failure {
    Late(Duration),
    /// The cluster has no slots.
    NoSlots,
    /// Another server is the primary now.
    FailedOver,
    /// The server ended the connection, when nothing was under way on it.
    Ended,
    Redis(RedisError),
}

/// Connects for a question or two. Deadlines are this store's own: the client's do not cover everything.
pub(super) async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    client.get_multiplexed_async_connection_with_config(&without_deadlines()).await
}

fn without_deadlines() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

impl Session {
    /// Connects, and asks the server for its time. A server that had failed must also show that it counts again,
    /// and in time: one that is full, or a replica, or too slow, would fail the next request.
    pub(super) async fn open(settings: &Settings, place: &Place, had_failed: bool) -> Result<Self, Failure> {
        let attempt = ATTEMPT.max(settings.deadline);
        let (late, due) = (|_| Failure::Late(attempt), Instant::now() + attempt);
        let client = timeout_at(due, place.client()).await.map_err(late)??;
        let server = client.get_connection_info();
        let connect = async {
            let stream = Stream::open(server.addr()).await?;
            // redis-rs logs in. Its part is over before the first batch is sent.
            let login = server.redis_settings();
            let client = MultiplexedConnection::new_with_config(login, stream.clone(), without_deadlines()).await?;
            Ok::<_, RedisError>((stream, client))
        };
        let (stream, (mut connection, driver)) = timeout_at(due, connect).await.map_err(late)??;
        // Each answer has the time that one has for a check: a server that is slow, and within that time, is used.
        let late = |_| Failure::Late(settings.deadline);
        let ask = redis::cmd("TIME");
        let told = async {
            let mut told = pin!(ask.query_async::<(u64, u64)>(&mut connection));
            select! {
                told = &mut told => told,
                // What was said before the connection ended has come, or is an error.
                () = driver => told.await,
            }
        };
        let (seconds, micros) = timeout(settings.deadline, told).await.map_err(late)??;
        let clock = ServerClock::new(script::server_time(seconds, micros));
        let flights = Flights::new(stream, Arc::clone(&settings.names), settings.deadline);
        let mut session = Self { flights, address: server.addr().clone(), clock };
        if had_failed && let Some(probe) = place.probe(settings) {
            session.send(Batch::new(Check::of(probe), Instant::now() + settings.deadline));
            let (_, reply) = session.flights.next().await?;
            reply?;
        }
        Ok(session)
    }

    /// The server's address.
    pub(super) fn address(&self) -> &ConnectionAddr {
        &self.address
    }

    /// Sends a batch, when the next one that comes back is waited for.
    pub(super) fn send(&mut self, batch: Batch) {
        self.flights.push(batch, self.clock.now());
    }
}

impl Place {
    /// Whom to connect to.
    async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Server(client) | Self::Node { client, .. } => Ok(client.clone()),
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
    pub(super) async fn leave(&self, address: ConnectionAddr) {
        match self {
            Self::Primary(sentinel) => sentinel.wait_for_other_than(&address).await,
            Self::Server(_) | Self::Node { .. } => pending().await,
        }
    }

    /// A counter of the limiter's own, written to see whether the server takes writes; of a node of a cluster, in one of
    /// its slots, and none if it has no slots. No rule has such a scope.
    fn probe(&self, settings: &Settings) -> Option<Work> {
        let per = 60;
        let key = |number: Option<u32>| {
            let text = number.map(|number| number.to_string().into());
            let scope = text.into_iter().map(|text| Who::Header("", text)).collect();
            let stem = Stem { key: Name::Rule("probe"), per, kind: "", ordinal: 0 };
            settings.names.key(&Counter { family: Family::new(0), stem, scope })
        };
        let key = match self {
            Self::Server(_) | Self::Primary(_) => key(None),
            Self::Node { node, map, .. } => {
                let map = map.borrow();
                // Any text has some slot: with so many, hardly a node is left out.
                (0..10_000)
                    .map(|number| key(Some(number)))
                    .find(|key| map.primary(settings.names.slot(key)) == Some(node))?
            }
        };
        let limit = Limit { limit: u32::MAX, per };
        let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
        let hit = Hit { hash: 0, terms, refuses: true, on_store_error: None, lease: 1 };
        Some(Work::Count(smallvec![Ask { hit, key, lot: 1, is_refill: false }]))
    }
}

/// The server's time, carried on by this machine's monotonic clock since the server last told it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    told: Duration,
    at: Instant,
}

impl ServerClock {
    pub(super) fn new(told: Duration) -> Self {
        Self { told, at: Instant::now() }
    }

    pub(super) fn now(&self) -> Duration {
        self.told + self.at.elapsed()
    }
}

impl Failure {
    pub(super) fn is_disconnect(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Redis(error) => error.is_io_error() || error.is_connection_dropped(),
            Self::Late(_) | Self::NoSlots | Self::FailedOver => false,
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
            Self::NoSlots => f.write_str("no node has slots: is this a cluster?"),
            Self::FailedOver => f.write_str("another server is the primary now"),
            Self::Ended => f.write_str("the connection was closed"),
            Self::Redis(error) => error.fmt(f),
        }
    }
}
