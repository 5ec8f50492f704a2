//! Counters in a file of SQLite 3.35 or later. SQLite is compiled in.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use sqlx::{
    ConnectOptions, Row as _,
    error::DatabaseError,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

use tokio::time::sleep;

use crate::{
    error::Error,
    store::{
        new_place,
        sql::{
            database::{Database, Failure},
            placeholders::{pad, padded, placeholders},
            rows::{Locked, Row},
            table::{TableName, wrong_shape},
        },
        url::{error, escapes::decode},
    },
};

/// Result codes of SQLite.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;

/// The shortest pause before a lock that another process holds is tried again. The longest is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_micros(500);

/// How long a migration waits for a lock.
const LONGEST_MIGRATION: Duration = Duration::from_secs(25);

/// The file has one writer at a time.
pub(crate) const CONNECTIONS: usize = 1;

#[derive(Clone)]
pub(crate) struct Sqlite(Arc<Shared>);

struct Shared {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// The quoted name of the table.
    table: String,
    create: String,
}

impl Sqlite {
    /// Reads what follows `sqlite://`: a path. A lock on the file is awaited for most of the deadline.
    pub(crate) fn new(rest: &str, table: &TableName, deadline: Duration) -> Result<Self, Error> {
        if rest.contains(['?', '#']) {
            return Err(error("query", "there are no options; in a path write %3F for `?` and %23 for `#`"));
        }
        let path = decode("path", rest)?;
        if path.is_empty() || path.ends_with('/') {
            return Err(error("path", "names no file; write sqlite:///folder/file.db"));
        }
        if path == ":memory:" {
            return Err(error("path", "counters in memory are memory://"));
        }
        let path = PathBuf::from(path);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(deadline * 3 / 4)
            .disable_statement_logging();
        Ok(Self(Arc::new(Shared { path, options, table: table.quoted('"'), create: create(table) })))
    }
}

/// The SQL that creates the table. It stands in `guide::sql`.
fn create(name: &TableName) -> String {
    let (table, index) = (name.quoted('"'), name.index(true).quoted('"'));
    // An index is in the schema of its own name.
    let indexed = TableName { schema: None, ..name.clone() }.quoted('"');
    format!(
        r#"CREATE TABLE IF NOT EXISTS {table} (
    key text NOT NULL PRIMARY KEY,
    value text,
    expires_at integer NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {index} ON {indexed} (expires_at);
"#
    )
}

impl Database for Sqlite {
    type Connection = SqliteConnection;

    fn name(&self) -> String {
        format!("sqlite://{}", self.0.path.display())
    }

    async fn connect(&self) -> Result<SqliteConnection, Failure> {
        let mut connection = self.0.options.connect().await.map_err(failure)?;
        // Transactions wait by themselves.
        sqlx::raw_sql("PRAGMA busy_timeout = 0").execute(&mut connection).await.map_err(failure)?;
        Ok(connection)
    }

    async fn lock(
        &self,
        connection: &mut SqliteConnection,
        keys: &[String],
        patience: Duration,
    ) -> Result<Locked, Failure> {
        begin(connection, patience).await?;
        // All processes that share a file are on one machine, and have its clock.
        let now = SystemTime::UNIX_EPOCH.elapsed().map_err(|error| Failure::Refused(error.to_string()))?;
        let mut locked = Locked { now, ..Locked::default() };
        let read = format!(
            "SELECT key, CAST(value AS blob) FROM {} WHERE key IN ({})",
            self.0.table,
            placeholders("?", padded(keys.len()))
        );
        let read = pad(keys).fold(sqlx::query(&read), |query, key| query.bind(key));
        for row in read.fetch_all(connection).await.map_err(failure)? {
            let (key, value): (String, Option<&[u8]>) =
                (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
            locked.add(key, value);
        }
        Ok(locked)
    }

    async fn commit(&self, connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), Failure> {
        let write = format!(
            "INSERT INTO {} (key, value, expires_at) VALUES {} \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
            self.0.table,
            placeholders("(?, ?, ?)", padded(rows.len()))
        );
        let write = pad(rows)
            .fold(sqlx::query(&write), |query, row| query.bind(&row.key).bind(&row.value).bind(row.expires_at));
        write.execute(&mut *connection).await.map_err(failure)?;
        sqlx::raw_sql("COMMIT").execute(connection).await.map(drop).map_err(failure)
    }

    async fn roll_back(&self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        sqlx::raw_sql("ROLLBACK").execute(connection).await.map(drop).map_err(failure)
    }

    async fn delete_expired(&self, connection: &mut SqliteConnection, most: u32) -> Result<u64, Failure> {
        let table = &self.0.table;
        let now = SystemTime::UNIX_EPOCH.elapsed().map_err(|error| Failure::Refused(error.to_string()))?;
        let delete = format!(
            "DELETE FROM {table} WHERE key IN (SELECT key FROM {table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
        );
        let expired = i64::try_from(now.as_secs()).unwrap_or(i64::MAX) - 1;
        match sqlx::query(&delete).bind(expired).bind(most).execute(connection).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) if is_busy(&error) => Ok(0),
            Err(error) => Err(failure(error)),
        }
    }

    async fn migrate(&self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        begin(connection, LONGEST_MIGRATION).await?;
        let create = format!("{}COMMIT", self.0.create);
        sqlx::raw_sql(&create).execute(connection).await.map(drop).map_err(failure)
    }
}

/// Begins a transaction that writes. SQLite's own wait for a lock sleeps for longer and longer, and a busy file would keep a process waiting
/// for too long.
async fn begin(connection: &mut SqliteConnection, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                sleep(SHORTEST_PAUSE + SHORTEST_PAUSE.mul_f64(new_place() as f64 / u64::MAX as f64)).await;
            }
            Err(error) => return Err(failure(error)),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| [BUSY, LOCKED].contains(&kind(error)))
}

/// The kind of an error: the lower byte of its code.
fn kind(error: &(dyn DatabaseError + 'static)) -> i32 {
    error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0xff
}

/// What an error means, by SQLite's result code.
fn failure(error: sqlx::Error) -> Failure {
    let reason = error.to_string();
    let Some(database) = error.as_database_error() else {
        return Failure::without_code(&error);
    };
    match kind(database) {
        BUSY | LOCKED => Failure::Refused(format!("{reason}: another process or program holds the lock of the file")),
        8 => Failure::Refused(format!("{reason}: let the application write the file and its folder")),
        13 => Failure::Refused(format!("{reason}: make room on the disk")),
        14 => Failure::Refused(format!("{reason}: the folder must be there, and the application must write to it")),
        1 if database.message().starts_with("no such table") => {
            Failure::Refused(format!("{reason}; call RateLimiter::migrate, or create the table (guide::sql)"))
        }
        1 => Failure::Refused(wrong_shape(&reason)),
        18..=20 => Failure::Value(wrong_shape(&reason)),
        _ => Failure::Refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_prints_the_sql_of_a_migration_of_sqlite() {
        assert!(include_str!("../../guide/sql.md").contains(&format!("```sql\n{}```", create(&TableName::default()))));
    }
}
