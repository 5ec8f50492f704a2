//! An open connection to a server.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use redis::{RedisError, RedisResult};
use smallvec::smallvec;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Settings,
    batch::{Ask, Batch, Check, Work},
    cluster::{Map, Node, Redirect},
    endpoint::{Address, Endpoint, Progress, Step},
    flights::Flights,
    script,
    sentinel::Sentinel,
    server_clock::ServerClock,
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
    Server(Endpoint),
    Primary(Arc<Sentinel>),
    Node { endpoint: Endpoint, node: Node, map: watch::Receiver<Map> },
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
    /// Another server is the primary now.
    FailedOver,
    /// The server ended the connection, when nothing was under way on it.
    Ended,
    Redis(RedisError),
}

impl Session {
    /// Connects, and asks the server for its time. A server that had failed must also show that it counts again,
    /// and in time: one that is full, or a replica, or too slow, would fail the next request.
    pub(super) async fn open(settings: &Settings, place: &Place, had_failed: bool) -> Result<Self, Failure> {
        let attempt = ATTEMPT.max(settings.deadline);
        let (late, due) = (|_| Failure::Late(attempt), Instant::now() + attempt);
        let endpoint = timeout_at(due, place.endpoint()).await.map_err(late)??;
        let progress = Progress::default();
        let stream = timeout_at(due, endpoint.open_with(&progress)).await;
        let mut stream = stream.map_err(|_| Failure::LateIn(progress.step(), attempt))??;
        // Each answer has the time that one has for a check: a server that is slow, and within that time, is used.
        let late = |_| Failure::Late(settings.deadline);
        let sent = Instant::now().into_std();
        let time = timeout(settings.deadline, stream.ask(redis::cmd("TIME")));
        let (seconds, micros) = time.await.map_err(late)??;
        let clock = ServerClock::new(script::server_time(seconds, micros), sent);
        let flights = Flights::new(stream, Arc::clone(&settings.names), settings.deadline);
        let mut session = Self { flights, address: endpoint.address, clock };
        if had_failed && let Some(probe) = place.probe(settings) {
            session.send(Batch::new(Check::of(probe), Instant::now() + settings.deadline));
            let (_, reply) = session.flights.next().await?;
            reply?;
        }
        Ok(session)
    }

    /// The server's address.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a batch, when the next one that comes back is waited for.
    pub(super) fn send(&mut self, batch: Batch) {
        let now = Instant::now();
        self.flights.push(batch, now, self.clock.at(now.into_std()));
    }
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

impl Failure {
    pub(super) fn is_disconnect(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Redis(error) => error.is_io_error() || error.is_connection_dropped(),
            Self::Late(_) | Self::LateIn(..) | Self::NoSlots | Self::FailedOver => false,
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
            Self::FailedOver => f.write_str("another server is the primary now"),
            Self::Ended => f.write_str("the connection was closed"),
            Self::Redis(error) => error.fmt(f),
        }
    }
}
