//! Redirects of a cluster: `MOVED`, `ASK` and `TRYAGAIN`.

use std::sync::Arc;

use redis::{RedisError, ServerErrorKind};

/// The address of a cluster's node, `host:port`, as the cluster names it.
pub(crate) type Node = Arc<str>;

/// What a node says instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot belongs to another node.
    Moved(Node),
    /// The slot is moving, and the counter is at the other node, or will be.
    Ask(Node),
    /// The slot is moving, and some of the counters have moved already.
    TryAgain,
}

impl Redirect {
    /// The redirect in an error of `node`, if the error is one.
    pub(crate) fn of(error: &RedisError, node: &Node) -> Option<Self> {
        let target = || {
            let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
            // A node that does not know its own host names none. The host is then the one of the node that answered.
            let own_host = node.rsplit_once(':').map_or("", |(host, _)| host);
            let host = if matches!(host, "" | "?") { own_host } else { host };
            Some(Node::from(format!("{host}:{port}")))
        };
        match error.kind() {
            kind if kind == ServerErrorKind::Moved.into() => target().map(Self::Moved),
            kind if kind == ServerErrorKind::Ask.into() => target().map(Self::Ask),
            kind if kind == ServerErrorKind::TryAgain.into() => Some(Self::TryAgain),
            _ => None,
        }
    }
}
