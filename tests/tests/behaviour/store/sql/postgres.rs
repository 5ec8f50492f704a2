//! What PostgreSQL alone has: pools of connections, and replicas.

use ratelimit_tests::sql_server::{Sql, SqlServer};
use ratelimit_tests::wait;

use super::{Limited, assert_logs};

#[test]
fn behind_a_pool_of_connections_each_check_is_a_transaction() {
    let server = SqlServer::start(Sql::Postgres);
    let limited = Limited::migrated(&server.url_of("app", "?statement_cache_capacity=0"));
    for remaining in [2, 1, 0, 0] {
        assert_eq!(limited.remaining("alice"), Some(remaining));
    }
    assert_eq!(server.client().ask("SELECT count(*) FROM rate_limits WHERE before IS NOT NULL"), "0");
    let locked = server.client().hold("BEGIN; SELECT value FROM rate_limits FOR UPDATE");
    assert!(limited.fails("alice"));
    drop(locked);
    wait::until("the row is free", || limited.check(&super::LIMIT, "alice").is_ok());
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
