//! Redis Cluster: its nodes, and where they say that a check is to go.

mod map;
mod mapper;
mod turns;

use std::sync::Arc;

use redis::{RedisError, ServerErrorKind};
use tokio::sync::watch;

pub(super) use self::{map::Map, mapper::Mapper};
use self::{map::SLOTS, turns::Turns};
use super::endpoint::Endpoint;

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

/// A cluster, as all workers of a process know it.
pub(super) struct Cluster {
    /// The nodes that the URL names.
    pub(super) seeds: Vec<Endpoint>,
    map: watch::Sender<Arc<Map>>,
    /// Whose turn it is to read the map.
    turns: Turns,
}

impl Cluster {
    /// `seeds` are one at least.
    pub(super) fn new(seeds: Vec<Endpoint>) -> Self {
        Self { seeds, map: watch::Sender::new(Arc::default()), turns: Turns::default() }
    }

    /// A node, which is logged in to as the seeds are.
    pub(super) fn endpoint(&self, node: &str) -> Endpoint {
        let (host, port) = node.rsplit_once(':').unwrap_or((node, "6379"));
        let seed = &self.seeds[0];
        seed.at(seed.address.at(host, port.parse().unwrap_or(6379)))
    }

    /// The map, and whatever becomes of it.
    pub(super) fn map(&self) -> watch::Receiver<Arc<Map>> {
        self.map.subscribe()
    }
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
}
