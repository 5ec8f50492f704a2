//! Redis Sentinel: which server is the primary, and when another one takes over.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{sleep, timeout};

use crate::store::redis::transport::{address::ServerAddress, endpoint::Endpoint, patience::Patience};

/// How often a process asks a sentinel for the primary. After a failover, an old primary may accept writes for some seconds more,
/// and they are lost.
const WATCH: Duration = Duration::from_secs(1);

/// How long one sentinel may take to answer.
const ATTEMPT: Duration = Duration::from_millis(300);

/// How long to wait, after the first sentinel has answered, for others that may know of a later failover.
const GRACE: Duration = Duration::from_millis(50);

/// A service that sentinels watch over.
pub(crate) struct Sentinel {
    sentinels: Vec<Endpoint>,
    service: String,
    /// The login of the servers. Its address is not used.
    server: Endpoint,
    state: Mutex<SentinelState>,
}

#[derive(Default)]
struct SentinelState {
    primary: Option<Primary>,
    /// When a worker last asked a sentinel for all workers.
    last_query: Option<Instant>,
}

#[derive(Clone)]
struct Primary {
    /// The number of failovers. If two sentinels disagree, the higher number is right.
    epoch: u64,
    address: ServerAddress,
    learned: Instant,
}

impl Sentinel {
    pub(crate) fn new(sentinels: Vec<Endpoint>, service: String, server: Endpoint) -> Self {
        Self { sentinels, service, server, state: Mutex::default() }
    }

    /// The endpoints of the sentinels and of the servers.
    #[cfg(feature = "rustls")]
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.sentinels.iter().chain([&self.server]).cloned().collect()
    }

    /// The name of the service in the log.
    pub(crate) fn name(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect();
        format!("{} (sentinels {})", self.service, sentinels.join(", "))
    }

    /// Asks all sentinels for the primary. A sentinel that hangs delays nobody.
    pub(crate) async fn primary(&self) -> RedisResult<Endpoint> {
        let mut answers: FuturesUnordered<_> = self.sentinels.iter().map(|sentinel| self.query(sentinel)).collect();
        let mut latest = None;
        let mut failure = RedisError::from((ErrorKind::EmptySentinelList, "no sentinel is named in the URL"));
        while latest.is_none()
            && let Some(answer) = answers.next().await
        {
            match answer {
                Ok(primary) => latest = Some(primary),
                Err(error) => failure = error,
            }
        }
        let Some(mut latest) = latest else { return Err(failure) };
        let others = async {
            while let Some(answer) = answers.next().await {
                if let Ok(primary) = answer
                    && primary.epoch > latest.epoch
                {
                    latest = primary;
                }
            }
        };
        // Sentinels that have not answered by then may be down.
        let _ = timeout(GRACE, others).await;
        // Another worker may just have learned of a later failover. After some time the number no longer decides: a deployment that
        // was set up again starts counting from zero.
        let primary = self.learn(latest, WATCH);
        Ok(self.server.at(primary.address))
    }

    /// Waits until another server than `primary` is the primary.
    pub(crate) async fn wait_for_other_than(&self, primary: &ServerAddress) {
        loop {
            if self.latest().is_some_and(|latest| latest != *primary) {
                return;
            }
            sleep(WATCH).await;
            // If this sentinel does not answer, the next attempt chooses another one.
            if self.is_query_due()
                && let Some(sentinel) = fastrand::choice(&self.sentinels)
                && let Some(Ok(primary)) = Patience::new(ATTEMPT).wait(self.query(sentinel)).await
            {
                self.learn(primary, Duration::MAX);
            }
        }
    }

    fn latest(&self) -> Option<ServerAddress> {
        self.state.lock().primary.as_ref().map(|primary| primary.address.clone())
    }

    /// Stores a primary, unless a later failover was learned of within `valid`. Returns the primary that counts now.
    fn learn(&self, primary: Primary, valid: Duration) -> Primary {
        let mut state = self.state.lock();
        let is_later = |stored: &Primary| stored.epoch > primary.epoch && stored.learned.elapsed() < valid;
        let latest = state.primary.take().filter(is_later).unwrap_or(primary);
        state.primary.insert(latest).clone()
    }

    /// Whether this worker is to ask a sentinel, for all workers of the process.
    fn is_query_due(&self) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        // Timers are not exact, so half of the interval is enough.
        let is_time = state.last_query.is_none_or(|last_query| now - last_query >= WATCH / 2);
        if is_time {
            state.last_query = Some(now);
        }
        is_time
    }

    async fn query(&self, sentinel: &Endpoint) -> RedisResult<Primary> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg(&self.service);
        let fields: HashMap<String, String> = sentinel.open().await?.run(command).await?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        match (field("ip"), field("port").and_then(|port| port.parse().ok()), field("config-epoch")) {
            (Some(host), Some(port), Some(epoch)) => {
                let (epoch, address) = (epoch.parse().unwrap_or_default(), self.server.address.at(host, port));
                Ok(Primary { epoch, address, learned: Instant::now() })
            }
            _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "SENTINEL MASTER names no address"))),
        }
    }
}
