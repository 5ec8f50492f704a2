//! Why a check or a connection has failed.

use std::{fmt, time::Duration};

use crate::store::redis::transport::progress::Step;
use redis::RedisError;

/// The store did not decide: it is down, or late, or answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFailed;

/// Why a connection is given up.
#[derive(Debug)]
pub(crate) enum Failure {
    Late(Duration),
    /// An attempt to connect was late.
    LateIn(Step, Duration),
    /// The cluster has no slots.
    NoSlots,
    /// The server ended the connection, when nothing was under way on it.
    Ended,
    Redis(RedisError),
}

impl Failure {
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
