//! Redis Cluster: which node has which slot.
//!
//! Each worker keeps a map of its own. It is read from any node at the start, and again whenever a node fails or sends
//! a check elsewhere.

use std::{mem::replace, sync::Arc, time::Duration};

use redis::{RedisError, RedisResult, ServerErrorKind, Value, from_redis_value};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{Settings, endpoint::Endpoint, session::Failure};

const SLOTS: u16 = 16384;

/// How long one node may take to tell the slots.
const ATTEMPT: Duration = Duration::from_millis(300);

/// The pause between two readings of the slots.
const PAUSE: Duration = Duration::from_millis(100);

/// A node's address, `host:port`, as the cluster tells it.
pub(super) type Node = Arc<str>;

/// Where a check is to be sent instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is another node's.
    Moved(Node),
    /// The slot is being moved, and the counter is, or will be, at the other node.
    Ask(Node),
    /// The slot is being moved, and with it some of the counters and not the others.
    TryAgain,
}

impl Redirect {
    /// The redirect that an error of `asked` is.
    pub(super) fn of(error: &RedisError, asked: &Node) -> Option<Self> {
        let node = || {
            let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
            // A node that does not know its own host names none: it is the host that was asked.
            let own = asked.rsplit_once(':').map_or("", |(host, _)| host);
            let host = if matches!(host, "" | "?") { own } else { host };
            Some(Node::from(format!("{host}:{port}")))
        };
        match error.kind() {
            kind if kind == ServerErrorKind::Moved.into() => node().map(Self::Moved),
            kind if kind == ServerErrorKind::Ask.into() => node().map(Self::Ask),
            kind if kind == ServerErrorKind::TryAgain.into() => Some(Self::TryAgain),
            _ => None,
        }
    }
}

/// The slot of a key: the CRC16 of what stands in its first braces, or of all of it.
pub(super) fn slot(key: &str) -> u16 {
    const CRC16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    CRC16.checksum(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// A cluster as its URL tells it.
pub(super) struct Cluster {
    /// The nodes to begin with.
    pub(super) seeds: Vec<Endpoint>,
}

impl Cluster {
    /// A node, which is logged in to as the seeds are.
    pub(super) fn endpoint(&self, node: &str) -> Endpoint {
        let (host, port) = node.rsplit_once(':').unwrap_or((node, "6379"));
        let seed = &self.seeds[0];
        seed.at(seed.address.at(host, port.parse().unwrap_or(6379)))
    }
}

/// Which primary has which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    ranges: Vec<Range>,
    /// The replicas, too.
    nodes: Vec<Node>,
    /// Whether no node tells the slots at the moment: then there is nothing to wait for.
    is_down: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: Node,
}

impl Map {
    /// Whether it is known already.
    pub(super) fn is_known(&self) -> bool {
        !self.ranges.is_empty()
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down
    }

    pub(super) fn primary(&self, slot: u16) -> Option<&Node> {
        self.ranges.iter().find(|range| range.first <= slot && slot <= range.last).map(|range| &range.primary)
    }

    pub(super) fn has_primary(&self, node: &str) -> bool {
        self.ranges.iter().any(|range| &*range.primary == node)
    }

    /// Reads what a node at `host` answered to CLUSTER SLOTS.
    fn read(slots: Vec<Vec<Value>>, host: &str) -> RedisResult<Self> {
        let mut map = Self::default();
        for range in slots {
            let [first, last, nodes @ ..] = &range[..] else { continue };
            let nodes: Vec<Node> = nodes.iter().map(|node| read_node(node, host)).collect::<RedisResult<_>>()?;
            map.nodes.extend(nodes.iter().filter(|node| !map.nodes.contains(node)).cloned().collect::<Vec<_>>());
            let Some(primary) = nodes.into_iter().next() else { continue };
            let (first, last) = (from_redis_value(first.clone())?, from_redis_value(last.clone())?);
            map.ranges.push(Range { first, last, primary });
        }
        Ok(map)
    }
}

/// `[host, port, id, …]`; a node that does not know its own address tells none.
fn read_node(node: &Value, asked: &str) -> RedisResult<Node> {
    let parts: Vec<Value> = from_redis_value(node.clone())?;
    let [host, port, ..] = &parts[..] else {
        return Err(RedisError::from((redis::ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS names no node")));
    };
    let host: Option<String> = from_redis_value(host.clone())?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    let port: u16 = from_redis_value(port.clone())?;
    Ok(format!("{}:{port}", host.as_deref().unwrap_or(asked)).into())
}

/// The task that keeps a worker's map.
pub(super) struct Mapper {
    pub(super) cluster: Arc<Cluster>,
    pub(super) settings: Arc<Settings>,
    pub(super) map: watch::Sender<Map>,
    /// Told by whoever finds that the map is wrong.
    pub(super) stale: Arc<Notify>,
}

impl Mapper {
    /// Keeps the map until the limiter or the worker is gone.
    pub(super) async fn run(self, mut limiter: watch::Receiver<()>) {
        let keep = async {
            loop {
                match self.read().await {
                    Ok(map) => {
                        if self.map.send_replace(map).is_down {
                            self.settings.health.recovered();
                        }
                        sleep(PAUSE).await;
                        self.stale.notified().await;
                    }
                    Err(failure) => {
                        if self.map.send_if_modified(|map| !replace(&mut map.is_down, true)) {
                            self.settings.health.failed(&failure);
                        }
                        sleep(PAUSE).await;
                    }
                }
            }
        };
        select! {
            () = keep => {}
            () = self.map.closed() => {}
            // The sender never sends: this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Asks one node after the other, those of the last map first, each round in another order.
    async fn read(&self) -> Result<Map, Failure> {
        let mut nodes: Vec<_> = self.map.borrow().nodes.iter().map(|node| self.cluster.endpoint(node)).collect();
        fastrand::shuffle(&mut nodes);
        nodes.extend(self.cluster.seeds.iter().cloned());
        let mut failure = Failure::Late(ATTEMPT);
        for node in nodes {
            match timeout(ATTEMPT, ask(&node)).await {
                Ok(Ok(map)) if map.is_known() => return Ok(map),
                Ok(Ok(_)) => failure = Failure::NoSlots,
                Ok(Err(error)) => failure = Failure::Redis(error),
                Err(_) => failure = Failure::Late(ATTEMPT),
            }
        }
        Err(failure)
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        if self.map.borrow().is_down {
            self.settings.health.abandoned();
        }
    }
}

async fn ask(node: &Endpoint) -> RedisResult<Map> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let slots = node.open().await?.ask(command).await?;
    Map::read(slots, node.address.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        // As CLUSTER KEYSLOT says.
        for (key, expected) in
            [("123456789", 12739), ("foo", 12182), ("a{foo}b", 12182), ("{}foo", 9500), ("a{b", 13340)]
        {
            assert_eq!(slot(key), expected, "{key}");
        }
    }

    #[test]
    fn a_node_without_an_address_of_its_own_is_where_it_was_asked() {
        let node = |host: &str| Value::Array(vec![Value::BulkString(host.into()), Value::Int(7000)]);
        let slots = vec![vec![Value::Int(0), Value::Int(100), node(""), node("10.0.0.2")]];
        let map = Map::read(slots, "10.0.0.1").unwrap_or_default();
        assert_eq!(map.primary(100).map(|node| &**node), Some("10.0.0.1:7000"));
        assert_eq!(map.primary(101), None);
    }
}
