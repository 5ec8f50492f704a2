//! The table: how it is created, what is wrong with it, and that it does not grow.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use actix_web::rt::Runtime;
use ratelimit_runtime::{Policy, RateLimiter, policy};
use ratelimit_tests::sql_server::{Sql, SqlServer};
use ratelimit_tests::wait;

use super::{LIMIT, Limited, assert_logs};

static SHORT: Policy = policy!("3/second", key = "sql-short", scope = "user");

on_each_server! {
    fn a_missing_table_is_a_failure_until_it_is_created(sql: Sql) {
        let server = SqlServer::start(sql);
        let limited = Limited::new(&server.url());
        assert!(limited.fails("alice"));
        assert_logs(&server.url(), &["ERROR", "call RateLimiter::migrate", "(RL022)"]);
        // Many instances of an application may start at the same time.
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(Limited::new(&server.url()).migrate(), Ok(())));
            }
        });
        limited.wait_until_it_serves("alice");
        assert_eq!(limited.migrate(), Ok(()), "a table that is there stays");
        assert_eq!(limited.remaining("alice"), Some(1));
    }

    fn a_table_of_another_shape_is_a_failure_that_says_so(sql: Sql) {
        let server = SqlServer::start(sql);
        for columns in ["name varchar(9)", "value int", "value int, expires_at bigint"] {
            server.client().ask(&format!("CREATE TABLE rate_limits ({} varchar(250) PRIMARY KEY, {columns})", sql.key()));
            let limited = Limited::new(&server.url());
            assert!(limited.fails("alice"), "{columns}");
            assert_logs(&server.url(), &["ERROR", "the table is not as RateLimiter::migrate creates it"]);
            server.client().ask("DROP TABLE rate_limits");
        }
    }

    fn a_missing_privilege_is_a_failure_that_says_which(sql: Sql) {
        let server = SqlServer::start(sql);
        Limited::migrated(&server.url());
        server.client().ask(sql.poor_user());
        let limited = Limited::new(&server.url_of("poor", ""));
        assert!(limited.fails("alice"));
        assert_logs(&server.url_of("poor", ""), &["ERROR", "grant SELECT, INSERT, UPDATE and DELETE", "(RL022)"]);
        server.client().ask(sql.enrich_user());
        limited.wait_until_it_serves("alice");
        assert_eq!(limited.migrate(), Ok(()), "a table that is there needs no privilege");
        let error = Limited::with(RateLimiter::builder().sql_table("another"), &server.url_of("poor", "")).migrate();
        let error = error.expect_err("no privilege").to_string();
        assert!(error.starts_with("migration of ") && error.ends_with("(RL029)"), "{error}");
    }

    fn names_of_any_characters_are_quoted(sql: Sql) {
        let server = SqlServer::start(sql);
        let name = r#"odd "`' name; --"#;
        server.client().ask(sql.create_schema());
        let builder = || RateLimiter::builder().sql_schema("Other").sql_table(name);
        let limited = Limited::with(builder(), &server.url());
        assert_eq!(limited.migrate(), Ok(()));
        limited.wait_until_it_serves("alice");
        assert_eq!(limited.remaining("alice"), Some(1));
        // Another schema is another table.
        let other = Limited::with(RateLimiter::builder().sql_table(name), &server.url());
        assert_eq!(other.migrate(), Ok(()));
        other.wait_until_it_serves("alice");
        assert_eq!(other.remaining("alice"), Some(1));
    }

    fn a_fixed_window_is_added_to_in_one_statement(sql: Sql) {
        let server = SqlServer::start(sql);
        let limited = Limited::migrated(&server.url());
        let ask = |columns: &str| {
            server.client().ask(&format!("SELECT {columns} FROM rate_limits WHERE {} LIKE '%user:alice'", sql.key()))
        };
        for (remaining, used, before) in [(2, "1", ""), (1, "2", "1"), (0, "3", "2"), (0, "3", "3"), (0, "3", "3")] {
            assert_eq!(limited.remaining("alice"), Some(remaining));
            assert!(ask("value").ends_with(&format!(" {used}")), "{}", ask("value"));
            // In a row that is new, other numbers are left.
            assert!(before.is_empty() || ask(sql.before()).trim_matches(['{', '}']) == before, "{}", ask(sql.before()));
        }
        // A window that is over begins anew.
        server.client().ask(&format!("UPDATE rate_limits SET value = 'window 86400 3' WHERE {} LIKE '%user:alice'", sql.key()));
        assert_eq!(limited.remaining("alice"), Some(2));
        assert_eq!(ask(sql.before()).trim_matches(['{', '}']), "0");
    }

    fn rows_that_have_expired_are_deleted_also_under_load(sql: Sql) {
        let server = SqlServer::start(sql);
        // Requests leave the one connection never idle.
        let limited = Limited::with(RateLimiter::builder().sql_connections(1), &server.url());
        assert_eq!(limited.migrate(), Ok(()));
        // More than one step deletes.
        server.client().ask(sql.expired_rows());
        for user in 0..10 {
            wait::until("the store serves", || limited.check(&SHORT, &format!("user-{user}")).is_ok());
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = |_| {
                let (limiter, is_over) = (limited.limiter.clone(), &is_over);
                scope.spawn(move || {
                    let asking = Limited { limiter, runtime: Runtime::new().expect("a runtime") };
                    while !is_over.load(SeqCst) {
                        let _ = asking.check(&LIMIT, "alice");
                    }
                })
            };
            let clients: Vec<_> = (0..4).map(load).collect();
            let rows = || server.client().ask("SELECT count(*) FROM rate_limits WHERE value IS NOT NULL");
            let is_deleted = wait::holds(|| rows() == "1");
            is_over.store(true, SeqCst);
            clients.into_iter().for_each(|client| client.join().expect("a client"));
            assert!(is_deleted, "{} rows are left", rows());
        });
    }
}

/// A failure of one database, in the words of its own.
trait Statements {
    fn create_schema(self) -> &'static str;
    fn poor_user(self) -> &'static str;
    fn enrich_user(self) -> &'static str;
    fn expired_rows(self) -> &'static str;
}

impl Statements for Sql {
    fn create_schema(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => r#"CREATE SCHEMA "Other""#,
            #[cfg(feature = "mysql")]
            Self::MariaDb => "CREATE DATABASE Other",
        }
    }

    fn poor_user(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "CREATE USER poor; GRANT SELECT ON rate_limits TO poor",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "CREATE USER poor@'127.0.0.1'; GRANT SELECT ON app.rate_limits TO poor@'127.0.0.1'",
        }
    }

    fn enrich_user(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "GRANT INSERT, UPDATE, DELETE ON rate_limits TO poor",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "GRANT INSERT, UPDATE, DELETE ON app.rate_limits TO poor@'127.0.0.1'",
        }
    }

    fn expired_rows(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                "INSERT INTO rate_limits SELECT 'old/' || n, 'window 1 1', n FROM generate_series(1, 2000) AS n"
            }
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                "INSERT INTO rate_limits (`key`, value, expires_at) SELECT concat('old/', seq), 'window 1 1', seq FROM seq_1_to_2000"
            }
        }
    }
}
