//! Counters in PostgreSQL 14 or later.

mod url;

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Row as _,
    postgres::{PgArguments, PgConnectOptions, PgConnection},
    query::Query,
};

use crate::{
    error::Error,
    store::{
        contract::operation::Increment,
        sql::{
            database::{Database, Failure},
            postgres::url::PostgresUrl,
            rows::{Added, Addition, Locked, Row},
            table::{TableName, wrong_shape},
        },
    },
};

/// How long the server lets a process hold locks that has stopped in the middle of a transaction, in milliseconds.
const LONGEST_IDLE: u32 = 5000;

#[derive(Clone)]
pub(crate) struct Postgres(Arc<Shared>);

struct Shared {
    name: String,
    options: PgConnectOptions,
    /// Whether another program hands out the server's connections. Then settings hold for a transaction, and a statement needs one.
    is_pooled: bool,
    statements: Statements,
}

/// The statements, with the name of the table.
struct Statements {
    /// The quoted name of the table.
    table: String,
    lock: String,
    write: String,
    add: String,
    delete_expired: String,
    create: String,
}

impl Postgres {
    /// Reads what follows `postgres://`. A lock is awaited for most of the deadline.
    pub(crate) fn new(rest: &str, table: &TableName, deadline: Duration) -> Result<Self, Error> {
        let PostgresUrl { mut options, name, is_pooled } = url::read(rest)?;
        if !is_pooled {
            let lock_timeout = (deadline * 3 / 4).as_millis().max(1).to_string();
            let idle = LONGEST_IDLE.to_string();
            options =
                options.options([("lock_timeout", &lock_timeout), ("idle_in_transaction_session_timeout", &idle)]);
        }
        Ok(Self(Arc::new(Shared { name, options, is_pooled, statements: Statements::new(table) })))
    }
}

impl Postgres {
    /// A statement with a name on the connection, by which it is used again; behind a pool, one without.
    fn query<'a>(&self, statement: &'a str) -> Query<'a, sqlx::Postgres, PgArguments> {
        sqlx::query(statement).persistent(!self.0.is_pooled)
    }
}

impl Statements {
    fn new(name: &TableName) -> Self {
        let table = name.quoted('"');
        Self {
            // The update changes nothing. It locks a row that is there, also one that another transaction has just made, and returns it.
            lock: format!(
                "INSERT INTO {table} AS counter (key, value, expires_at) \
                 SELECT key, NULL, 0 FROM unnest($1::text[]) AS key \
                 ON CONFLICT (key) DO UPDATE SET value = counter.value \
                 RETURNING key, value, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            ),
            write: format!(
                "INSERT INTO {table} (key, value, expires_at) \
                 SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
            ),
            add: add(&table),
            delete_expired: format!(
                "DELETE FROM {table} WHERE key IN (\
                 SELECT key FROM {table} WHERE expires_at <= extract(epoch FROM clock_timestamp())::bigint - 1 \
                 ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
            ),
            create: create(name),
            table,
        }
    }
}

/// The statement that adds requests to fixed windows. The column `before` passes it the window, the cost and the limit, and then keeps how
/// many tokens were taken before, or NULL if the row holds something else.
fn add(table: &str) -> String {
    let used = "CASE WHEN counter.value IS NULL THEN 0 \
         WHEN counter.value !~ '^window [0-9]{1,10} [0-9]{1,10}$' THEN NULL \
         WHEN split_part(counter.value, ' ', 2)::bigint = excluded.expires_at THEN split_part(counter.value, ' ', 3)::bigint \
         WHEN split_part(counter.value, ' ', 2)::bigint <= excluded.before[1] THEN 0 END";
    format!(
        "INSERT INTO {table} AS counter (key, value, expires_at, before) \
         SELECT key, 'window ' || ends || ' ' || cost * least(requests, quota / cost), ends, \
         ARRAY[starts, cost, quota, requests] \
         FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
         AS addition (key, starts, ends, cost, quota, requests) \
         WHERE extract(epoch FROM clock_timestamp()) >= starts AND extract(epoch FROM clock_timestamp()) < ends \
         ON CONFLICT (key) DO UPDATE SET \
         value = coalesce('window ' || excluded.expires_at || ' ' || ({used}) + excluded.before[2] * \
         least(excluded.before[4], greatest(excluded.before[3] - ({used}), 0) / excluded.before[2]), counter.value), \
         expires_at = CASE WHEN ({used}) IS NULL THEN counter.expires_at ELSE excluded.expires_at END, \
         before = ARRAY[{used}] \
         WHERE extract(epoch FROM clock_timestamp()) < excluded.expires_at \
         RETURNING key, before, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    )
}

/// The SQL that creates the table. It stands in `guide::sql`.
fn create(name: &TableName) -> String {
    let (table, index) = (name.quoted('"'), name.index(false).quoted('"'));
    format!(
        r#"CREATE UNLOGGED TABLE IF NOT EXISTS {table} (
    key text COLLATE "C" PRIMARY KEY,
    value text,
    expires_at bigint NOT NULL,
    before bigint[]
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at);
"#
    )
}

impl Database for Postgres {
    type Connection = PgConnection;

    fn name(&self) -> String {
        self.0.name.clone()
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        self.0.options.connect().await.map_err(failure)
    }

    async fn lock(
        &self,
        connection: &mut PgConnection,
        keys: &[String],
        patience: Duration,
    ) -> Result<Locked, Failure> {
        // Whatever the server's settings are, each statement sees what was committed before it.
        let begin = match self.0.is_pooled {
            true => format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; \
                 SET LOCAL idle_in_transaction_session_timeout = {LONGEST_IDLE}",
                patience.as_millis().max(1)
            ),
            false => "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned(),
        };
        sqlx::raw_sql(&begin).execute(&mut *connection).await.map_err(failure)?;
        let rows = self.query(&self.0.statements.lock).bind(keys).fetch_all(connection).await.map_err(failure)?;
        let mut locked = Locked::default();
        for row in rows {
            let (key, value): (String, Option<&str>) =
                (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
            let micros: i64 = row.try_get(2).map_err(failure)?;
            // The last row may have waited for its lock.
            locked.now = locked.now.max(Duration::from_micros(micros.unsigned_abs()));
            locked.add(key, value.map(str::as_bytes));
        }
        Ok(locked)
    }

    async fn commit(&self, connection: &mut PgConnection, rows: &[Row]) -> Result<(), Failure> {
        let keys: Vec<&str> = rows.iter().map(|row| &*row.key).collect();
        let values: Vec<Option<&str>> = rows.iter().map(|row| row.value.as_deref()).collect();
        let expiries: Vec<i64> = rows.iter().map(|row| row.expires_at).collect();
        let write = self.query(&self.0.statements.write).bind(keys).bind(values).bind(expiries);
        write.execute(&mut *connection).await.map_err(failure)?;
        sqlx::raw_sql("COMMIT").execute(connection).await.map(drop).map_err(failure)
    }

    async fn roll_back(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        sqlx::raw_sql("ROLLBACK").execute(connection).await.map(drop).map_err(failure)
    }

    fn adds(&self) -> bool {
        !self.0.is_pooled
    }

    async fn add(&self, connection: &mut PgConnection, additions: &[Addition]) -> Result<Added, Failure> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let numbers = |of: fn(&Increment) -> u64| -> Vec<i64> {
            additions.iter().map(|addition| number(of(&addition.increment))).collect()
        };
        let add = self
            .query(&self.0.statements.add)
            .bind(additions.iter().map(|addition| &*addition.key).collect::<Vec<&str>>())
            .bind(numbers(|increment| increment.window_start))
            .bind(numbers(|increment| increment.window_end))
            .bind(numbers(|increment| increment.tokens))
            .bind(numbers(|increment| increment.limit.into()))
            .bind(additions.iter().map(|addition| addition.requests).collect::<Vec<i64>>());
        let mut added = Added::default();
        for row in add.fetch_all(connection).await.map_err(failure)? {
            let (key, before): (String, Vec<Option<i64>>) =
                (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
            let micros: i64 = row.try_get(2).map_err(failure)?;
            added.now = added.now.max(Duration::from_micros(micros.unsigned_abs()));
            let used = match before[..] {
                [used] => used.and_then(|used| u32::try_from(used).ok()),
                // The row is new.
                _ => Some(0),
            };
            added.used.extend(used.map(|used| (key, used)));
        }
        Ok(added)
    }

    async fn delete_expired(&self, connection: &mut PgConnection, most: u32) -> Result<u64, Failure> {
        // A pool lets all parts of a transaction reach one server.
        if self.0.is_pooled {
            sqlx::raw_sql("BEGIN").execute(&mut *connection).await.map_err(failure)?;
        }
        let delete = self.query(&self.0.statements.delete_expired).bind(i64::from(most));
        let deleted = delete.execute(&mut *connection).await.map_err(failure)?.rows_affected();
        if self.0.is_pooled {
            sqlx::raw_sql("COMMIT").execute(connection).await.map_err(failure)?;
        }
        Ok(deleted)
    }

    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        sqlx::raw_sql("BEGIN").execute(&mut *connection).await.map_err(failure)?;
        // CREATE needs privileges and locks also where there is nothing to create.
        let find = self.query("SELECT to_regclass($1) IS NOT NULL").bind(&self.0.statements.table);
        let found = find.fetch_one(&mut *connection).await.map_err(failure)?;
        let rest = match found.try_get(0).map_err(failure)? {
            true => "COMMIT".to_owned(),
            // Two processes that create a table at the same time fail, also with IF NOT EXISTS.
            false => format!(
                "SET LOCAL lock_timeout = '25s'; SELECT pg_advisory_xact_lock(7205759403792793);\n{}COMMIT",
                self.0.statements.create
            ),
        };
        sqlx::raw_sql(&rest).execute(connection).await.map(drop).map_err(failure)
    }
}

/// What an error means, by its SQLSTATE.
fn failure(error: sqlx::Error) -> Failure {
    let reason = error.to_string();
    let Some(database) = error.as_database_error() else {
        return Failure::without_code(&error);
    };
    match database.code().as_deref().unwrap_or_default() {
        // Serialization failure, deadlock.
        "40001" | "40P01" => Failure::Conflict(reason),
        // A lock, or a statement that the server's own settings end.
        "55P03" | "57014" => Failure::Locked,
        // The server shuts down, has restarted, or has ended a connection that was idle.
        "57P01" | "57P02" | "57P03" | "57P05" | "08000" | "08003" | "08006" | "25P03" | "25P04" => {
            Failure::Lost(reason)
        }
        "42P01" => Failure::Refused(format!("{reason}; call RateLimiter::migrate, or create the table (guide::sql)")),
        "42703" | "42P10" | "42804" | "42883" => Failure::Refused(wrong_shape(&reason)),
        code if code.starts_with("22") || code.starts_with("23") => Failure::Value(wrong_shape(&reason)),
        "42501" => Failure::Refused(format!(
            "{reason}; grant SELECT, INSERT, UPDATE and DELETE on the table; a migration needs CREATE"
        )),
        "25006" => Failure::Refused(format!("{reason}: the server is a replica; connect to the primary")),
        _ => Failure::Refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_prints_the_sql_of_a_migration_of_postgres() {
        assert!(include_str!("../../guide/sql.md").contains(&format!("```sql\n{}```", create(&TableName::default()))));
    }
}
