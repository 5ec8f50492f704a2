//! Counters in MariaDB 10.6 or MySQL 8, or later.

mod url;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Row as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError},
};

use crate::{
    error::Error,
    store::{
        contract::operation::Increment,
        sql::{
            database::{Database, Failure},
            placeholders::{pad, padded, placeholders},
            rows::{Added, Addition, Locked, Row},
            table::{TableName, wrong_shape},
        },
    },
};

/// The settings of a connection. Each statement sees what was committed before it. The shortest wait for a lock is a second. MariaDB also
/// ends the transaction of a process that has stopped in the middle of it. The mode lets assignments of one statement see each other.
const SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
     SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 1 /*M! , idle_transaction_timeout = 5 */";

#[derive(Clone)]
pub(crate) struct MySql(Arc<Shared>);

struct Shared {
    name: String,
    options: MySqlConnectOptions,
    name_of_table: TableName,
    /// The quoted name of the table.
    table: String,
    add: String,
    create: String,
    /// Whether the server is MariaDB: MySQL does not return the rows of an insertion.
    is_mariadb: AtomicBool,
}

impl MySql {
    /// Reads what follows `mysql://`.
    pub(crate) fn new(rest: &str, table: &TableName) -> Result<Self, Error> {
        let (options, name) = url::read(rest)?;
        let (create, quoted) = (create(table), table.quoted('`'));
        Ok(Self(Arc::new(Shared {
            name,
            options,
            name_of_table: table.clone(),
            add: add(&quoted),
            table: quoted,
            create,
            is_mariadb: AtomicBool::new(false),
        })))
    }
}

/// The statement that adds requests to fixed windows. The column `before` gets how many tokens were taken before: -1 if the row is new, NULL
/// if nothing is added. The next assignments see it.
fn add(table: &str) -> String {
    let time = "UNIX_TIMESTAMP(SYSDATE(6))";
    let end = format!("CAST(SUBSTRING_INDEX(SUBSTRING_INDEX({table}.value, ' ', 2), ' ', -1) AS SIGNED)");
    format!(
        "INSERT INTO {table} (`key`, value, expires_at, `before`) \
         SELECT name, CONCAT('window ', ends, ' ', cost * LEAST(requests, quota DIV cost)), ends, -1 \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (name varchar(250) CHARACTER SET ascii PATH '$[0]', \
         starts bigint PATH '$[1]', ends bigint PATH '$[2]', cost bigint PATH '$[3]', quota bigint PATH '$[4]', \
         requests bigint PATH '$[5]')) AS addition WHERE {time} >= starts AND {time} < ends \
         ON DUPLICATE KEY UPDATE `before` = CASE WHEN {time} >= ends THEN NULL \
         WHEN {table}.value IS NULL THEN 0 \
         WHEN {table}.value NOT REGEXP '^window [0-9]{{1,10}} [0-9]{{1,10}}$' THEN NULL \
         WHEN {end} = ends THEN CAST(SUBSTRING_INDEX({table}.value, ' ', -1) AS SIGNED) \
         WHEN {end} <= starts THEN 0 END, \
         {table}.value = IF(`before` IS NULL, {table}.value, CONCAT('window ', ends, ' ', \
         `before` + cost * LEAST(requests, GREATEST(quota - `before`, 0) DIV cost))), \
         expires_at = IF(`before` IS NULL, expires_at, ends) \
         RETURNING `key`, `before`, CAST({time} * 1000000 AS SIGNED)"
    )
}

/// A row of a JSON text. A key is printable ASCII.
fn json_row(Addition { key, increment, requests }: &Addition) -> String {
    let name = key.replace('\\', "\\\\").replace('"', "\\\"");
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Increment { window_start, window_end, tokens, limit } = *increment;
    let (starts, ends, cost) = (number(window_start), number(window_end), number(tokens));
    format!(r#"["{name}",{starts},{ends},{cost},{limit},{requests}]"#)
}

/// The SQL that creates the table. It stands in `guide::sql`.
fn create(name: &TableName) -> String {
    let table = name.quoted('`');
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (
    `key` varbinary(250) NOT NULL PRIMARY KEY,
    value mediumtext CHARACTER SET utf8mb4,
    expires_at bigint NOT NULL,
    `before` bigint,
    KEY expires_at (expires_at)
) ENGINE = InnoDB;
"
    )
}

impl Database for MySql {
    type Connection = MySqlConnection;

    fn name(&self) -> String {
        self.0.name.clone()
    }

    async fn connect(&self) -> Result<MySqlConnection, Failure> {
        let mut connection = self.0.options.connect().await.map_err(failure)?;
        sqlx::raw_sql(SETTINGS).execute(&mut connection).await.map_err(failure)?;
        let version = sqlx::query("SELECT VERSION()").fetch_one(&mut connection).await.map_err(failure)?;
        let version: String = version.try_get(0).map_err(failure)?;
        self.0.is_mariadb.store(version.contains("MariaDB"), Relaxed);
        Ok(connection)
    }

    async fn lock(
        &self,
        connection: &mut MySqlConnection,
        keys: &[String],
        _patience: Duration,
    ) -> Result<Locked, Failure> {
        sqlx::raw_sql("START TRANSACTION").execute(&mut *connection).await.map_err(failure)?;
        let (table, count) = (&self.0.table, padded(keys.len()));
        // The update changes nothing. It locks a row that is there.
        let rows = placeholders("(?, NULL, 0)", count);
        let lock = format!(
            "INSERT INTO {table} (`key`, value, expires_at) VALUES {rows} ON DUPLICATE KEY UPDATE value = {table}.value"
        );
        let lock = pad(keys).fold(sqlx::query(&lock), |query, key| query.bind(key.as_bytes()));
        lock.execute(&mut *connection).await.map_err(failure)?;
        let read = format!(
            "SELECT `key`, value, CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED) FROM {table} WHERE `key` IN ({})",
            placeholders("?", count)
        );
        let read = pad(keys).fold(sqlx::query(&read), |query, key| query.bind(key.as_bytes()));
        let mut locked = Locked::default();
        for row in read.fetch_all(connection).await.map_err(failure)? {
            let (key, value): (Vec<u8>, Option<String>) =
                (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
            let micros: i64 = row.try_get(2).map_err(failure)?;
            locked.now = locked.now.max(Duration::from_micros(micros.unsigned_abs()));
            locked.add(String::from_utf8_lossy(&key).into_owned(), value.as_deref().map(str::as_bytes));
        }
        Ok(locked)
    }

    async fn commit(&self, connection: &mut MySqlConnection, rows: &[Row]) -> Result<(), Failure> {
        let write = format!(
            "INSERT INTO {} (`key`, value, expires_at) VALUES {} \
             ON DUPLICATE KEY UPDATE value = VALUES(value), expires_at = VALUES(expires_at)",
            self.0.table,
            placeholders("(?, ?, ?)", padded(rows.len()))
        );
        let write = pad(rows).fold(sqlx::query(&write), |query, row| {
            query.bind(row.key.as_bytes()).bind(&row.value).bind(row.expires_at)
        });
        write.execute(&mut *connection).await.map_err(failure)?;
        sqlx::raw_sql("COMMIT").execute(connection).await.map(drop).map_err(failure)
    }

    async fn roll_back(&self, connection: &mut MySqlConnection) -> Result<(), Failure> {
        sqlx::raw_sql("ROLLBACK").execute(connection).await.map(drop).map_err(failure)
    }

    fn adds(&self) -> bool {
        self.0.is_mariadb.load(Relaxed)
    }

    async fn add(&self, connection: &mut MySqlConnection, additions: &[Addition]) -> Result<Added, Failure> {
        let rows: Vec<String> = additions.iter().map(json_row).collect();
        let add = sqlx::query(&self.0.add).bind(format!("[{}]", rows.join(",")));
        let mut added = Added::default();
        for row in add.fetch_all(connection).await.map_err(failure)? {
            let (key, before): (Vec<u8>, Option<i64>) =
                (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
            let micros: i64 = row.try_get(2).map_err(failure)?;
            added.now = added.now.max(Duration::from_micros(micros.unsigned_abs()));
            if let Some(used) = before.and_then(|used| u32::try_from(used.max(0)).ok()) {
                added.used.insert(String::from_utf8_lossy(&key).into_owned(), used);
            }
        }
        Ok(added)
    }

    async fn delete_expired(&self, connection: &mut MySqlConnection, most: u32) -> Result<u64, Failure> {
        let table = &self.0.table;
        sqlx::raw_sql("START TRANSACTION").execute(&mut *connection).await.map_err(failure)?;
        let find = format!(
            "SELECT `key` FROM {table} WHERE expires_at <= UNIX_TIMESTAMP() - 1 ORDER BY expires_at LIMIT ? \
             FOR UPDATE SKIP LOCKED"
        );
        let found = sqlx::query(&find).bind(most).fetch_all(&mut *connection).await.map_err(failure)?;
        let keys = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Vec<u8>>, _>>().map_err(failure)?;
        if !keys.is_empty() {
            let delete = format!("DELETE FROM {table} WHERE `key` IN ({})", placeholders("?", padded(keys.len())));
            let delete = pad(&keys).fold(sqlx::query(&delete), |query, key| query.bind(key));
            delete.execute(&mut *connection).await.map_err(failure)?;
        }
        sqlx::raw_sql("COMMIT").execute(connection).await.map_err(failure)?;
        Ok(keys.len() as u64)
    }

    async fn migrate(&self, connection: &mut MySqlConnection) -> Result<(), Failure> {
        // CREATE needs privileges also where there is nothing to create.
        let find = "SELECT count(*) FROM information_schema.tables \
             WHERE table_schema = coalesce(?, database()) AND table_name = ?";
        let TableName { schema, table } = &self.0.name_of_table;
        let found = sqlx::query(find).bind(schema).bind(table).fetch_one(&mut *connection).await.map_err(failure)?;
        if found.try_get::<i64, _>(0).map_err(failure)? > 0 {
            return Ok(());
        }
        sqlx::raw_sql(&self.0.create).execute(connection).await.map(drop).map_err(failure)
    }
}

/// What an error means, by its number.
fn failure(error: sqlx::Error) -> Failure {
    let reason = error.to_string();
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    let Some(database) = database else {
        return Failure::without_code(&error);
    };
    match database.number() {
        // A deadlock; with several primaries also a conflict with another one. MariaDB: the row has changed since it was read.
        1213 | 1020 => Failure::Conflict(reason),
        // A lock, or a statement that the server's own settings end.
        1205 | 1317 | 1969 | 3024 => Failure::Locked,
        // The server shuts down, or has ended a connection that was idle.
        1053 | 1927 | 2006 | 2013 | 4031 => Failure::Lost(reason),
        1146 => Failure::Refused(format!("{reason}; call RateLimiter::migrate, or create the table (guide::sql)")),
        1054 | 1136 => Failure::Refused(wrong_shape(&reason)),
        1048 | 1264 | 1265 | 1292 | 1366 | 1406 => Failure::Value(wrong_shape(&reason)),
        1044 | 1142 | 1143 => Failure::Refused(format!(
            "{reason}; grant SELECT, INSERT, UPDATE and DELETE on the table; a migration needs CREATE"
        )),
        1290 | 1792 | 1836 => Failure::Refused(format!("{reason}: the server only reads; connect to the primary")),
        _ => Failure::Refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_prints_the_sql_of_a_migration_of_mysql() {
        assert!(include_str!("../../guide/sql.md").contains(&format!("```sql\n{}```", create(&TableName::default()))));
    }

    #[test]
    fn a_key_is_a_text_of_json() {
        let increment = Increment { window_start: 0, window_end: 60, tokens: u64::MAX, limit: 5 };
        let addition = Addition { key: r#"a"b\\c"#.to_owned(), increment, requests: 2 };
        assert_eq!(json_row(&addition), r#"["a\"b\\\\c",0,60,9223372036854775807,5,2]"#);
    }
}
