//! The settings of a limiter that counts in an SQL database.

use crate::limiter::builder::RateLimiterBuilder;

/// Settings of SQL databases (cargo features `postgres`, `mysql`, `sqlite`). Other stores take no notice of them.
impl RateLimiterBuilder {
    /// The name of the table of counters; `rate_limits` unless set. It is quoted, so its case matters where the database tells cases apart.
    ///
    /// It has from 1 to 50 bytes and no control characters. [`build`](Self::build) fails with [`Error::Setting`](crate::Error::Setting) for any other name.
    ///
    /// ```
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// # #[cfg(feature = "postgres")] {
    /// let limiter = RateLimiter::builder()
    ///     .sql_schema("limits")
    ///     .sql_table("shop")
    ///     .store("postgres://app@db.internal/shop").build()?;
    /// # drop(limiter);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn sql_table(mut self, table: impl Into<String>) -> Self {
        self.sql.table.table = table.into();
        self
    }

    /// The schema of the table, which must be there; for MariaDB and MySQL a database. Unless set, it is the one that the connection has.
    ///
    /// It is quoted, and has from 1 to 50 bytes and no control characters, or [`build`](Self::build) fails with [`Error::Setting`](crate::Error::Setting).
    pub fn sql_schema(mut self, schema: impl Into<String>) -> Self {
        self.sql.table.schema = Some(schema.into());
        self
    }

    /// How many connections this limiter opens at most, from 1 to 100; 4 unless set. They are opened when they are needed. SQLite has one.
    ///
    /// Checks that wait for a connection go into one transaction together, so more connections do not mean more throughput.
    /// [`build`](Self::build) fails with [`Error::Setting`](crate::Error::Setting) for any other number.
    pub fn sql_connections(mut self, connections: usize) -> Self {
        self.sql.connections = connections;
        self
    }
}
