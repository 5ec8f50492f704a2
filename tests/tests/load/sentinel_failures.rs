//! A primary behind Sentinel that dies, stops, or is replaced while it is well, under load.

use std::time::Duration;

use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::wait;

use crate::alone;
use crate::outage::Stage;

/// Replication is asynchronous: counts that a dead primary has not replicated are lost.
fn failover(on_store_error: &'static str) {
    let _alone = alone();
    let mut stage = Stage::before(RedisSentinel::start(), on_store_error).losing_data();
    stage.store.kill(0);
    stage.suffer();
    stage.store.wait_for_promotion(0);
    stage.recover();
    stage.store.restart(0);
    stage.store.wait_until_healthy();
    stage.recover();
    stage.clear();
}

#[test]
fn behind_sentinels_a_replica_that_is_promoted_is_used_and_memory_stands_in_until_then() {
    failover("local");
}

#[test]
fn behind_sentinels_a_replica_that_is_promoted_is_used_and_until_then_there_are_503s() {
    failover("deny");
}

#[test]
fn a_requested_failover_is_followed() {
    let _alone = alone();
    let stage = Stage::before(RedisSentinel::start(), "local").losing_data();
    stage.store.fail_over();
    stage.store.wait_for_promotion(0);
    stage.recover();
    wait::until("the old primary is a replica", || {
        stage.store.server(0).info(&["INFO", "replication"], "role").as_deref() == Some("slave")
    });
    stage.recover();
    stage.clear();
}

#[test]
fn a_primary_that_stops_for_five_seconds_is_replaced_and_not_used_when_it_is_back() {
    let _alone = alone();
    let stage = Stage::before(RedisSentinel::start(), "deny").losing_data();
    stage.store.server(0).pause();
    std::thread::sleep(Duration::from_secs(5));
    stage.suffer();
    stage.store.wait_for_promotion(0);
    stage.store.server(0).resume();
    stage.recover();
    stage.store.wait_until_healthy();
    stage.recover();
    stage.clear();
}

#[test]
fn sentinels_that_die_are_not_missed_while_the_primary_is_well() {
    let _alone = alone();
    let mut stage = Stage::before(RedisSentinel::start(), "deny");
    // The last sentinel tells this test which server is the primary.
    for sentinel in 0..2 {
        stage.store.sentinels()[sentinel].kill();
        stage.answer_more("requests are answered without the sentinel");
    }
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}
