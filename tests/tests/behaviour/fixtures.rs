//! The cluster and the sentinels of the tests do what a test tells them.

use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::Transport;
use ratelimit_tests::wait;

#[test]
fn a_replica_takes_the_place_of_a_primary_of_the_cluster() {
    let mut cluster = RedisCluster::start();
    let slot = cluster.slot("key");
    let primary = cluster.primary_of(slot).expect("a primary");
    assert!(primary < 3);
    cluster.kill(primary);
    let promoted = cluster.wait_for_promotion(slot);
    assert!(promoted >= 3);
    cluster.restart(primary);
    cluster.wait_until_healthy();
    assert_eq!(cluster.primary_of(slot), Some(promoted));
}

#[test]
fn a_slot_of_the_cluster_moves_step_by_step() {
    let cluster = RedisCluster::start();
    let slot = cluster.slot("key");
    let from = cluster.primary_of(slot).expect("a primary");
    let to = cluster.another_primary(from);
    let set = |index: usize| cluster.node(index).try_ask::<()>(&["SET", "key", "7", "EX", "100"]);
    set(from).expect("the primary of the slot takes writes");
    let step = cluster.begin_move(slot, to);
    set(from).expect("the key is still there");
    step.move_keys();
    assert_eq!(set(from).expect_err("the key is gone").code(), Some("ASK"));
    step.finish();
    assert_eq!((cluster.primary_of(slot), cluster.get("key")), (Some(to), Some(7)));
    assert_eq!((cluster.keys(), cluster.keys_without_expiry()), (vec!["key".to_owned()], vec![]));
}

#[test]
fn a_cluster_may_have_passwords_and_tls() {
    let cluster = RedisCluster::with(Transport::Tls, &["requirepass secret"]);
    let moved = cluster.begin_move(0, 1);
    moved.finish();
    wait::until("all agree", || cluster.primary_of(0) == Some(1));
    assert!(cluster.url_as(":secret@").starts_with("rediss+cluster://:secret@127.0.0.1:"));
}

#[test]
fn a_replica_takes_the_place_of_a_primary_that_sentinels_watch() {
    let mut sentinel = RedisSentinel::start();
    assert_eq!(sentinel.primary(), Some(0));
    sentinel.kill(0);
    let promoted = sentinel.wait_for_promotion(0);
    sentinel.restart(0);
    wait::until("the old primary is a replica", || {
        sentinel.server(0).info(&["INFO", "replication"], "role").as_deref() == Some("slave")
    });
    // On a busy machine the sentinels may have chosen another primary meanwhile.
    wait::until("the sentinels agree", || sentinel.primary().is_some());
    assert_ne!(promoted, 0);
}

#[test]
fn sentinels_promote_a_replica_when_told() {
    let access = ["requirepass secret"];
    let sentinel = RedisSentinel::with(Transport::Tls, &access, &access);
    sentinel.fail_over();
    let promoted = sentinel.wait_for_promotion(0);
    assert_eq!(sentinel.current().port(), sentinel.server(promoted).port());
}
