//! Servers that are killed, stand still, are slow, full, locked, read-only, or have no connection left.

use std::time::{Duration, Instant};

use ratelimit_runtime::{Policy, policy};
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::sql_server::{Sql, SqlServer};
use ratelimit_tests::wait;

use super::{LIMIT, Limited, assert_logs};

static GCRA: Policy = policy!("3/day", key = "sql-gcra", scope = "user", algorithm = "gcra");

on_each_server! {
    fn a_server_that_is_killed_or_stands_still_is_answered_in_time_and_comes_back(sql: Sql) {
        let mut server = SqlServer::start(sql);
        let limited = Limited::migrated(&server.url());
        for is_killed in [true, false] {
            if is_killed {
                server.kill();
            } else {
                server.pause();
            }
            wait::until("a check fails in time", || {
                let started = Instant::now();
                let has_failed = limited.fails("alice");
                assert!(started.elapsed() < wait::PATIENCE / 4, "{:?}", started.elapsed());
                has_failed
            });
            if is_killed {
                server.restart();
            } else {
                server.resume();
            }
            limited.wait_until_it_serves(if is_killed { "bob" } else { "carol" });
            assert_eq!(limited.runtime.block_on(limited.limiter.ping()), Ok(()));
        }
    }

    fn a_restart_between_two_checks_costs_no_answer(sql: Sql) {
        let mut server = SqlServer::start(sql);
        let limited = Limited::migrated(&server.url());
        server.restart();
        assert_eq!(limited.remaining("alice"), Some(2));
        server.client().ask(&sql.end_connections());
        assert_eq!(limited.remaining("bob"), Some(2));
    }

    fn a_slow_server_is_answered_in_time_and_used_again(sql: Sql) {
        let server = SqlServer::start(sql);
        Limited::migrated(&server.url());
        let proxy = Proxy::to(server.address().parse().expect("an address"));
        let port = proxy.url().rsplit_once(':').expect("a port").1.trim_end_matches('/').to_owned();
        let limited = Limited::new(&server.url().replace(server.address().rsplit_once(':').expect("a port").1, &port));
        limited.wait_until_it_serves("alice");
        proxy.delay_replies(Duration::from_millis(700));
        let started = Instant::now();
        assert!(limited.fails("bob"));
        assert!(started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
        proxy.heal();
        limited.wait_until_it_serves("carol");
    }

    fn a_row_that_another_program_locks_fails_its_own_checks_alone(sql: Sql) {
        let server = SqlServer::start(sql);
        let limited = Limited::migrated(&server.url());
        assert_eq!(limited.remaining("alice"), Some(2));
        let key = "rate-limit/sql/86400/user:alice";
        let lock = format!("BEGIN; SELECT value FROM rate_limits WHERE {} = '{key}' FOR UPDATE", sql.key());
        let locked = server.client().hold(&lock);
        for user in ["bob", "carol", "dave", "erin", "frank", "grace"] {
            assert!(limited.fails("alice"));
            assert_eq!(limited.remaining(user), Some(2));
        }
        drop(locked);
        wait::until("the row is free", || !limited.fails("alice"));
    }

    fn no_connection_left_is_a_failure_until_there_is_one(sql: Sql) {
        let server = SqlServer::start(sql);
        Limited::migrated(&server.url());
        server.client().ask(sql.narrow_user());
        let taken = server.client_of("narrow").hold("SELECT 1");
        let limited = Limited::new(&server.url_of("narrow", ""));
        assert!(limited.fails("alice"));
        assert_logs(&server.url_of("narrow", ""), &["ERROR", "connections", "(RL022)"]);
        drop(taken);
        limited.wait_until_it_serves("alice");
    }

    fn a_server_that_only_reads_is_a_failure_until_it_writes(sql: Sql) {
        let server = SqlServer::start(sql);
        Limited::migrated(&server.url());
        let client = server.client();
        client.ask(sql.plain_user());
        client.ask(sql.read_only(true));
        let limited = Limited::new(&server.url_of("plain", ""));
        wait::until("the server only reads", || limited.fails("alice"));
        assert_logs(&server.url_of("plain", ""), &["ERROR", "connect to the primary", "(RL022)"]);
        client.ask(sql.read_only(false));
        limited.wait_until_it_serves("alice");
    }

    fn a_full_disk_fails_new_counters_and_admits_nobody_for_free(sql: Sql) {
        let server = SqlServer::on_a_small_disk(sql);
        let limited = Limited::migrated(&server.url());
        server.client().fill(sql.fill());
        let told: Vec<bool> = (0..100).map(|user| limited.fails(&format!("user-{user}"))).collect();
        assert!(told.contains(&true), "{told:?}");
        server.client().ask(sql.make_room());
        wait::until("there is room", || (0..100).all(|user| limited.check(&GCRA, &format!("user-{user}")).is_ok()));
    }

    fn a_foreign_value_fails_its_own_checks_until_it_is_reset(sql: Sql) {
        let server = SqlServer::start(sql);
        let limited = Limited::migrated(&server.url());
        for user in ["alice", "bob"] {
            assert_eq!(limited.remaining(user), Some(2));
        }
        for value in ["'hello'", "''", "'window 1'"] {
            let set = format!("UPDATE rate_limits SET value = {value} WHERE {} LIKE '%user:alice'", sql.key());
            server.client().ask(&set);
            assert!(limited.fails("alice"), "{value}");
            assert!(limited.check(&LIMIT, "bob").is_ok());
            let alice = ratelimit_runtime::Subject::new().user("alice");
            assert_eq!(limited.runtime.block_on(limited.limiter.reset(&LIMIT, &alice)), Ok(()));
            assert_eq!(limited.remaining("alice"), Some(2));
            limited.runtime.block_on(limited.limiter.reset(&LIMIT, &ratelimit_runtime::Subject::new().user("bob"))).expect("a store");
        }
    }
}

/// What each database calls it.
trait Statements {
    fn end_connections(self) -> String;
    fn narrow_user(self) -> &'static str;
    fn plain_user(self) -> &'static str;
    fn read_only(self, is_on: bool) -> &'static str;
    fn fill(self) -> &'static str;
    fn make_room(self) -> &'static str;
}

impl Statements for Sql {
    fn end_connections(self) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ratelimit-runtime'"
                    .to_owned()
            }
            #[cfg(feature = "mysql")]
            Self::MariaDb => "KILL USER app".to_owned(),
        }
    }

    fn narrow_user(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "CREATE USER narrow CONNECTION LIMIT 1; GRANT ALL ON rate_limits TO narrow",
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                "CREATE USER narrow@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1; GRANT ALL ON app.* TO narrow@'127.0.0.1'"
            }
        }
    }

    fn plain_user(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "CREATE USER plain; GRANT ALL ON rate_limits TO plain",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "CREATE USER plain@'127.0.0.1'; GRANT ALL ON app.* TO plain@'127.0.0.1'",
        }
    }

    fn read_only(self, is_on: bool) -> &'static str {
        match (self, is_on) {
            #[cfg(feature = "postgres")]
            (Self::Postgres, true) => "ALTER USER plain SET default_transaction_read_only = on",
            #[cfg(feature = "postgres")]
            (Self::Postgres, false) => "ALTER USER plain SET default_transaction_read_only = off",
            #[cfg(feature = "mysql")]
            (Self::MariaDb, true) => "SET GLOBAL read_only = 1",
            #[cfg(feature = "mysql")]
            (Self::MariaDb, false) => "SET GLOBAL read_only = 0",
        }
    }

    fn fill(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                "INSERT INTO rate_limits SELECT 'filler/' || random(), repeat('x', 50), 9999999999 FROM generate_series(1, 10)"
            }
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                "INSERT INTO rate_limits (`key`, value, expires_at) SELECT concat('filler/', uuid()), repeat('x', 50), 9999999999 FROM seq_1_to_10"
            }
        }
    }

    fn make_room(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "DELETE FROM rate_limits; VACUUM rate_limits",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "TRUNCATE rate_limits",
        }
    }
}
