//! A cluster under load whose primaries die, stop and lose slots.

use std::time::Duration;

use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::Transport;
use ratelimit_tests::wait;

use crate::alone;
use crate::outage::Stage;

/// The scope of the load's counters in a key, and the second scope of `/pair`.
const SCOPE: &str = "{global}";
const OTHER_SCOPE: &str = "{ip:127.0.0.1}";

fn primary(cluster: &RedisCluster) -> usize {
    primary_of(cluster, SCOPE)
}

fn primary_of(cluster: &RedisCluster, scope: &str) -> usize {
    cluster.primary_of(cluster.slot(scope)).expect("a primary of the load's counters")
}

/// Replication is asynchronous: counts that a dead primary has not replicated are lost.
fn failover(on_store_error: &'static str) {
    let _alone = alone();
    let mut stage = Stage::before(RedisCluster::start(), on_store_error).losing_data();
    let dead = primary(&stage.store);
    stage.store.kill(dead);
    stage.suffer();
    stage.store.wait_for_promotion(stage.store.slot(SCOPE));
    stage.recover();
    stage.store.restart(dead);
    stage.store.wait_until_healthy();
    stage.answer_more("requests are answered while the old primary comes back as a replica");
    stage.recover();
    stage.clear();
}

#[test]
fn in_a_cluster_a_replica_that_is_promoted_is_used_and_memory_stands_in_until_then() {
    failover("local");
}

#[test]
fn in_a_cluster_a_replica_that_is_promoted_is_used_and_until_then_there_are_503s() {
    failover("deny");
}

#[test]
fn a_primary_that_stops_for_five_seconds_is_replaced_and_comes_back_as_a_replica() {
    let _alone = alone();
    let stage = Stage::before(RedisCluster::start(), "deny").losing_data();
    let stopped = primary(&stage.store);
    stage.store.node(stopped).pause();
    std::thread::sleep(Duration::from_secs(5));
    stage.suffer();
    stage.store.node(stopped).resume();
    stage.store.wait_until_healthy();
    assert_ne!(stage.store.wait_for_promotion(stage.store.slot(SCOPE)), stopped);
    stage.recover();
    stage.clear();
}

#[test]
fn a_primary_that_is_gone_costs_the_counters_of_the_others_nothing() {
    let _alone = alone();
    let cluster = RedisCluster::with(Transport::Tcp, &["cluster-require-full-coverage no"]);
    let mut stage = Stage::before(cluster, "deny");
    let concerned = [SCOPE, OTHER_SCOPE].map(|scope| primary_of(&stage.store, scope));
    let bystander = (0..3).find(|node| !concerned.contains(node)).expect("a primary that has nothing to do");
    stage.store.kill(bystander);
    stage.answer_more("requests are answered while the other primary is missed");
    stage.store.restart(bystander);
    stage.store.wait_until_healthy();
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn a_replica_that_dies_is_not_noticed() {
    let _alone = alone();
    let mut stage = Stage::before(RedisCluster::steady(), "deny");
    for replica in 3..6 {
        stage.store.kill(replica);
        stage.answer_more("requests are answered without the replica");
    }
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn a_slot_that_moves_to_and_fro_costs_nobody_an_answer() {
    let _alone = alone();
    let stage = Stage::before(RedisCluster::steady(), "deny");
    let cluster = &stage.store;
    let slot = cluster.slot(SCOPE);
    for _ in 0..5 {
        let from = primary(cluster);
        let to = cluster.another_primary(from);
        let step = cluster.begin_move(slot, to);
        stage.answer_more("requests are answered while the keys are at both primaries");
        step.move_keys();
        stage.answer_more("requests are answered while the slot is on its way");
        step.move_keys();
        step.finish();
        wait::until("all agree whose the slot is", || cluster.primary_of(slot) == Some(to));
        stage.answer_more("requests are answered by the new primary");
    }
    let before = stage.count();
    wait::until("the new primary counts", || stage.count() > before);
    assert_eq!(stage.failures_logged(), 0, "{:#?}", stage.app.output());
    stage.clear();
}

#[test]
fn connections_that_all_nodes_end_cost_nobody_an_answer() {
    let _alone = alone();
    let stage = Stage::before(RedisCluster::steady(), "deny");
    for _ in 0..5 {
        for node in 0..6 {
            stage.store.node(node).ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        stage.answer_more("requests are answered all the while");
    }
    stage.settle();
    stage.clear();
}
