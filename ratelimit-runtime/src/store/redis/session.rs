//! An open connection to a server.

use std::{
    fmt,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError, RedisResult, aio::MultiplexedConnection};
use smallvec::smallvec;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Settings,
    batch::{Ask, Batch, Passage, Work},
    cluster::{Map, Node, Redirect, slot},
    script::{self, Reply},
    sentinel::Sentinel,
};
use crate::{
    algorithm::Terms,
    key::{Counter, Family, Name, Who},
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
    connection: MultiplexedConnection,
    address: ConnectionAddr,
    pub(super) clock: ServerClock,
}

/// A batch, and what came back.
pub(super) type Landed = (Batch, Result<Reply, Failure>);

/// Why a connection is given up.
#[derive(Debug)]
pub(super) enum Failure {
    Late(Duration),
    /// The cluster has no slots.
    NoSlots,
    /// Another server is the primary now.
    FailedOver,
    Redis(RedisError),
}

/// Connects. Deadlines are this store's own: the client's do not cover everything.
pub(super) async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl Session {
    /// Connects, and asks the server for its time. A server that had failed must also show that it counts again,
    /// and in time: one that is full, or a replica, or too slow, would fail the next request.
    pub(super) async fn open(settings: &Settings, place: &Place, had_failed: bool) -> Result<Self, Failure> {
        let attempt = ATTEMPT.max(settings.deadline);
        let connect = async {
            let client = match place {
                Place::Server(client) | Place::Node { client, .. } => client,
                Place::Primary(sentinel) => &sentinel.primary().await?,
            };
            Ok::<_, RedisError>((connect(client).await?, client.get_connection_info().addr().clone()))
        };
        let (mut connection, address) = timeout(attempt, connect).await.map_err(|_| Failure::Late(attempt))??;
        // Each answer has the time that one has for a check: a server that is slow, and within that time, is used.
        let late = |_| Failure::Late(settings.deadline);
        let ask = redis::cmd("TIME");
        let told = timeout(settings.deadline, ask.query_async::<(u64, u64)>(&mut connection)).await.map_err(late)?;
        let (seconds, micros) = told?;
        let time = script::server_time(seconds, micros);
        let clock = ServerClock::new(time);
        if had_failed && let Some(probe) = place.probe(settings) {
            let works = [&probe];
            let call = script::call(&mut connection, &works, Passage::Usual, &settings.names.mark, time);
            timeout(settings.deadline, call).await.map_err(late)??;
        }
        Ok(Self { connection, address, clock })
    }

    /// The server's address.
    pub(super) fn address(&self) -> &ConnectionAddr {
        &self.address
    }

    /// Sends a batch.
    pub(super) fn send(&self, settings: &Settings, mut batch: Batch) -> impl Future<Output = Landed> + use<> {
        batch.sent = Instant::now();
        let mark = Arc::clone(&settings.names.mark);
        let (mut connection, now) = (self.connection.clone(), self.clock.now());
        async move {
            let works = batch.works();
            let call = script::call(&mut connection, &works, batch.passage(), &mark, now);
            let result = call.await.map_err(Failure::Redis);
            drop(works);
            (batch, result)
        }
    }
}

impl Place {
    /// Where else to ask, if that is what a node of a cluster says. Of a server that is alone, it is a failure like any other.
    pub(super) fn redirect(&self, failure: &Failure) -> Option<Redirect> {
        match (self, failure) {
            (Self::Node { node, .. }, Failure::Redis(error)) => Redirect::of(error, node),
            _ => None,
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
            let counter =
                Counter { family: Family::new(0), key: Name::Static("probe"), per, kind: "", ordinal: 0, scope };
            settings.names.key(&counter)
        };
        let key = match self {
            Self::Server(_) | Self::Primary(_) => key(None),
            Self::Node { node, map, .. } => {
                let map = map.borrow();
                // Any text has some slot: with so many, hardly a node is left out.
                (0..10_000).map(|number| key(Some(number))).find(|key| map.primary(slot(key)) == Some(node))?
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
            Self::NoSlots => f.write_str("no node has slots: is this a cluster?"),
            Self::FailedOver => f.write_str("another server is the primary now"),
            Self::Redis(error) => error.fmt(f),
        }
    }
}
