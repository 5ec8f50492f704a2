//! The interface to a database, and the kinds of its failures.

use std::{future::Future, time::Duration};

use crate::store::sql::{
    rows::{Added, Addition, Locked, Row},
    table::wrong_shape,
};

/// A database with a table of counters. The futures run on the thread of the store.
pub(crate) trait Database: Clone + Send + Sync + 'static {
    type Connection: 'static;

    /// The name in the log, without a secret.
    fn name(&self) -> String;

    /// Opens a connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Failure>>;

    /// Begins a transaction that locks rows, those that do not exist included. `keys` are in ascending order. A lock that another
    /// transaction holds may be awaited for `patience`.
    fn lock(
        &self,
        connection: &mut Self::Connection,
        keys: &[String],
        patience: Duration,
    ) -> impl Future<Output = Result<Locked, Failure>>;

    /// Writes rows that are locked, and commits.
    fn commit(&self, connection: &mut Self::Connection, rows: &[Row]) -> impl Future<Output = Result<(), Failure>>;

    /// Ends a transaction without a change.
    fn roll_back(&self, connection: &mut Self::Connection) -> impl Future<Output = Result<(), Failure>>;

    /// Whether it has [`add`](Self::add).
    fn adds(&self) -> bool {
        false
    }

    /// Adds to fixed windows as many requests as fit, in one statement. A window that is not that of the database's clock stays as it is, as
    /// does a row that holds something else. The keys are in ascending order.
    fn add(
        &self,
        _connection: &mut Self::Connection,
        _additions: &[Addition],
    ) -> impl Future<Output = Result<Added, Failure>> {
        async { Ok(Added::default()) }
    }

    /// Deletes some rows that have expired, at most so many, and returns how many. It waits for no lock.
    fn delete_expired(
        &self,
        connection: &mut Self::Connection,
        most: u32,
    ) -> impl Future<Output = Result<u64, Failure>>;

    /// Creates the table, unless it is there.
    fn migrate(&self, connection: &mut Self::Connection) -> impl Future<Output = Result<(), Failure>>;
}

/// The reason why a step failed.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    expect(dead_code, reason = "one file has one writer, and none of these")
)]
pub(crate) enum Failure {
    /// Another transaction was in the way. The transaction may succeed if it is tried again.
    Conflict(String),
    /// Another transaction holds one of the locks for too long.
    Locked,
    /// The connection is of no use any more.
    Lost(String),
    /// The database does not take one of the values.
    Value(String),
    /// It would fail again.
    Refused(String),
}

impl Failure {
    /// Of an error that the database has not sent.
    pub(super) fn without_code(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } => Self::Refused(wrong_shape(&error.to_string())),
            _ => Self::Lost(error.to_string()),
        }
    }

    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Conflict(reason) | Self::Lost(reason) | Self::Value(reason) | Self::Refused(reason) => reason,
            Self::Locked => "another transaction holds the row of a counter for too long",
        }
    }
}
