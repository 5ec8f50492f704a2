//! A node of a cluster, and the redirects by which it names another.

use std::sync::Arc;

use redis::{RedisError, ServerErrorKind};

/// A node's address, `host:port`, as the cluster tells it.
pub(crate) type Node = Arc<str>;

/// Where a check is to be sent instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot is another node's.
    Moved(Node),
    /// The slot is being moved, and the counter is, or will be, at the other node.
    Ask(Node),
    /// The slot is being moved, and with it some of the counters and not the others.
    TryAgain,
}

impl Redirect {
    /// The redirect that an error of `asked` is.
    pub(crate) fn of(error: &RedisError, asked: &Node) -> Option<Self> {
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
