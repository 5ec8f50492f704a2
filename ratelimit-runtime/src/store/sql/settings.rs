//! The settings of a store in an SQL database.

use std::ops::RangeInclusive;

use crate::{error::Error, store::sql::table::TableName};

const CONNECTIONS: RangeInclusive<usize> = 1..=100;

#[derive(Debug)]
pub(crate) struct SqlSettings {
    pub(crate) table: TableName,
    pub(crate) connections: usize,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self { table: TableName::default(), connections: 4 }
    }
}

impl SqlSettings {
    /// Whether all settings can be used.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !CONNECTIONS.contains(&self.connections) {
            return Err(Error::Setting { setting: "sql_connections", reason: "must be from 1 to 100".to_owned() });
        }
        self.table.check()
    }
}
