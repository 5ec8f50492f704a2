//! The rows of a transaction.

use std::{collections::HashMap, time::Duration};

use crate::store::contract::{operation::Increment, value::Value};

/// The rows that a transaction has locked.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    /// The database's time since the epoch, at which the rows were locked.
    pub(super) now: Duration,
    /// The values, by their keys. Rows that did not exist have none.
    pub(super) values: HashMap<String, Value>,
}

impl Locked {
    /// Takes in a row as it was read. A row that was made by the lock has no value, nor has one whose counter was removed.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(super) fn add(&mut self, key: String, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.values.insert(key, Value::from_bytes(value));
        }
    }
}

/// A row to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(super) key: String,
    /// The value; `None` for a counter that is removed.
    pub(super) value: Option<String>,
    /// When the row may be deleted, in seconds since the epoch.
    pub(super) expires_at: i64,
}

/// Requests under one rule with a fixed window, which cost the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addition {
    pub(super) key: String,
    /// The window, and how many tokens it has.
    pub(super) increment: Increment,
    /// How many requests there are.
    pub(super) requests: i64,
}

/// What the counters of additions held before.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// The database's time since the epoch.
    pub(super) now: Duration,
    /// The tokens that were taken before, by key. A counter that is missing here was not added to.
    pub(super) used: HashMap<String, u32>,
}
