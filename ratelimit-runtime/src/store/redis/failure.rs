//! Failures of one connection to the store.

use std::{fmt, time::Duration};

use redis::RedisError;

use crate::store::redis::transport::progress::ConnectStep;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server did not answer a batch within the deadline.
    Late(Duration),
    /// An attempt to connect was late at this step.
    LateIn(ConnectStep, Duration),
    /// No node of the cluster has slots.
    NoSlots,
    /// The server closed the connection while nothing was in flight.
    Ended,
    Redis(RedisError),
}

impl Failure {
    /// Whether the connection is gone, while the server may be well.
    pub(crate) fn is_disconnect(&self) -> bool {
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
