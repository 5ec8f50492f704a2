//! What PostgreSQL alone has: replicas.

use ratelimit_tests::sql_server::{Sql, SqlServer};
use ratelimit_tests::wait;

use super::{Limited, assert_logs};

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
