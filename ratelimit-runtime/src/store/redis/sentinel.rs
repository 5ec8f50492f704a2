//! Redis Sentinel: which server is the primary, and when another has become it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::store::redis::{
    patience::Patience,
    transport::{address::Address, endpoint::Endpoint},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{sleep, timeout};

/// How often a process asks whether there was a failover. An old primary that was only slow, or was told to step down,
/// takes writes for some seconds more, which are lost.
const WATCH: Duration = Duration::from_secs(1);

/// How long one sentinel may take for that.
const ATTEMPT: Duration = Duration::from_millis(300);

/// How long to wait, after the first sentinel has answered, for others that may know of a later failover.
const GRACE: Duration = Duration::from_millis(50);

/// A service that sentinels watch over.
pub(crate) struct Sentinel {
    sentinels: Vec<Endpoint>,
    service: String,
    /// How to log in to the servers; the address is any.
    server: Endpoint,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    primary: Option<Primary>,
    /// When a worker last asked on behalf of all.
    asked: Option<Instant>,
}

#[derive(Clone)]
struct Primary {
    /// Of two sentinels that differ, the one with the higher number knows of a later failover.
    epoch: u64,
    address: Address,
    heard: Instant,
}

impl Sentinel {
    pub(crate) fn new(sentinels: Vec<Endpoint>, service: String, server: Endpoint) -> Self {
        Self { sentinels, service, server, state: Mutex::default() }
    }

    /// The sentinels, and the server.
    #[cfg(feature = "rustls")]
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.sentinels.iter().chain([&self.server]).cloned().collect()
    }

    /// What to call it in the log.
    pub(crate) fn name(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect();
        format!("{} (sentinels {})", self.service, sentinels.join(", "))
    }

    /// The primary, as the sentinels say that answer: one that hangs holds up nobody.
    pub(crate) async fn primary(&self) -> RedisResult<Endpoint> {
        let mut answers: FuturesUnordered<_> = self.sentinels.iter().map(|sentinel| self.ask(sentinel)).collect();
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
        // Those that have not answered by then may be down.
        let _ = timeout(GRACE, others).await;
        // Other workers may have heard of a later failover just now. But a deployment that was set up anew counts its
        // failovers from the start.
        let primary = self.learn(latest, WATCH);
        Ok(self.server.at(primary.address))
    }

    /// Waits until another server than `primary` is the primary.
    pub(crate) async fn wait_for_other_than(&self, primary: &Address) {
        loop {
            if self.latest().is_some_and(|latest| latest != *primary) {
                return;
            }
            sleep(WATCH).await;
            // If it does not answer, another is asked the next time.
            if self.is_time_to_ask()
                && let Some(sentinel) = fastrand::choice(&self.sentinels)
                && let Some(Ok(primary)) = Patience::new(ATTEMPT).wait(self.ask(sentinel)).await
            {
                self.learn(primary, Duration::MAX);
            }
        }
    }

    fn latest(&self) -> Option<Address> {
        self.state.lock().primary.as_ref().map(|primary| primary.address.clone())
    }

    /// Takes in what was heard, unless something later was heard within `believed`; returns what holds now.
    fn learn(&self, primary: Primary, believed: Duration) -> Primary {
        let mut state = self.state.lock();
        let is_later = |known: &Primary| known.epoch > primary.epoch && known.heard.elapsed() < believed;
        let latest = state.primary.take().filter(is_later).unwrap_or(primary);
        state.primary.insert(latest).clone()
    }

    /// One worker asks for all of the process.
    fn is_time_to_ask(&self) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        // Workers do not wake in the same moment, nor exactly in time.
        let is_time = state.asked.is_none_or(|asked| now - asked >= WATCH / 2);
        if is_time {
            state.asked = Some(now);
        }
        is_time
    }

    async fn ask(&self, sentinel: &Endpoint) -> RedisResult<Primary> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg(&self.service);
        let fields: HashMap<String, String> = sentinel.open().await?.ask(command).await?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        match (field("ip"), field("port").and_then(|port| port.parse().ok()), field("config-epoch")) {
            (Some(host), Some(port), Some(epoch)) => {
                let (epoch, address) = (epoch.parse().unwrap_or_default(), self.server.address.at(host, port));
                Ok(Primary { epoch, address, heard: Instant::now() })
            }
            _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "SENTINEL MASTER names no address"))),
        }
    }
}
