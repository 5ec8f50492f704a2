//! What PostgreSQL alone has: pools of connections, and replicas.

use ratelimit_tests::pgbouncer::PgBouncer;
use ratelimit_tests::sql_server::{Sql, SqlServer};
use ratelimit_tests::wait;

use super::{Limited, assert_logs};

#[test]
fn limiters_behind_a_pool_of_transactions_share_its_connection() {
    let server = SqlServer::start(Sql::Postgres);
    let pool = PgBouncer::before(&server);
    let limiters = [Limited::migrated(&pool.url()), Limited::migrated(&pool.url())];
    for (remaining, limited) in [2, 1, 0, 0].into_iter().zip(limiters.iter().cycle()) {
        assert_eq!(limited.remaining("alice"), Some(remaining));
    }
    assert_eq!(pool.client().ask("SELECT count(*) FROM rate_limits WHERE before IS NOT NULL"), "0");
    assert_eq!(pool.client().ask("SELECT count(*) FROM pg_prepared_statements"), "0");
    server.client().ask("INSERT INTO rate_limits VALUES ('old', 'window 1 1', 1)");
    wait::until("the expired row is deleted", || {
        assert!(limiters.iter().all(|limited| limited.check(&super::LIMIT, "bob").is_ok()));
        server.client().ask("SELECT count(*) FROM rate_limits WHERE key = 'old'") == "0"
    });
    let locked = server.client().hold("BEGIN; SELECT value FROM rate_limits FOR UPDATE");
    assert!(limiters[0].fails("alice"));
    drop(locked);
    wait::until("the row is free", || limiters[0].check(&super::LIMIT, "alice").is_ok());
}

#[test]
fn a_replica_is_a_failure_until_it_is_promoted() {
    let mut primary = SqlServer::with(Sql::Postgres, &["-c", "wal_level=replica"]);
    Limited::migrated(&primary.url());
    let replica = SqlServer::replica_of(&primary);
    let limited = Limited::new(&replica.url());
    assert!(limited.fails("alice"));
    assert_logs(&replica.url(), &["ERROR", "connect to the primary", "(RL022)"]);
    primary.kill();
    replica.client().ask("SELECT pg_promote()");
    wait::until("the new primary counts", || limited.check(&super::LIMIT, "alice").is_ok());
    assert_eq!(limited.remaining("alice"), Some(1));
}
