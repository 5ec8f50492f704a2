//! Redis by a host name, while the resolver hangs, fails or changes its answer.

use std::process::Command;
use std::time::{Duration, Instant};

use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::resolver::Resolver;
use ratelimit_tests::wait;

/// The `app`, with one thread a worker for blocking calls.
fn app(resolver: &Resolver, url: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.envs([("APP_STORE", url), ("APP_ON_STORE_ERROR", "deny")]);
    command.envs([("APP_WORKERS", "4"), ("APP_BLOCKING_THREADS", "1")]);
    Process::start(resolver.preload(&mut command))
}

/// Asserts that hanging lookups cost the application nothing while its workers try to connect for more than a second, and
/// that it uses the store as soon as lookups work.
fn assert_hangs_alone(url: &str, hosts: &[&str]) {
    let resolver = Resolver::new();
    resolver.hang(true);
    let app = app(&resolver, url);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(app.get("/work").status, 503);
    }
    let mut lookups = resolver.lookups();
    lookups.sort();
    assert_eq!(lookups, hosts, "{url}");
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(app.get("/blocking").status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "calls that block took {:?}", start.elapsed());
    resolver.hang(false);
    wait::until("the store is used", || app.get("/work").status == 200);
}

#[test]
fn a_lookup_that_hangs_is_the_only_one_and_keeps_the_application_from_nothing() {
    let redis = RedisServer::on_port();
    assert_hangs_alone(&format!("redis://redis.test:{}/", redis.port()), &["redis.test"]);
}

#[test]
fn a_lookup_of_a_sentinel_that_hangs_is_the_only_one() {
    let mut sentinel = RedisSentinel::start();
    let ports: Vec<u16> = sentinel.sentinels().iter().map(RedisServer::port).collect();
    let url = format!("redis+sentinel://one.test:{},two.test:{},One.Test:{}/main", ports[0], ports[1], ports[2]);
    assert_hangs_alone(&url, &["one.test", "two.test"]);
}

#[test]
fn a_lookup_of_a_node_that_hangs_is_the_only_one() {
    let cluster = RedisCluster::start();
    let ports = [0, 1].map(|index| cluster.node(index).port());
    let url = format!("redis+cluster://one.test:{},two.test:{}", ports[0], ports[1]);
    assert_hangs_alone(&url, &["one.test", "two.test"]);
}

#[test]
fn the_last_addresses_of_a_host_serve_while_its_lookups_hang_or_fail() {
    let redis = RedisServer::on_port();
    let resolver = Resolver::new();
    let app = app(&resolver, &format!("redis://redis.test:{}/", redis.port()));
    wait::until("the store is used", || app.get("/work").status == 200);
    for trouble in [Resolver::hang, Resolver::fail] {
        trouble(&resolver, true);
        for _ in 0..3 {
            redis.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
            let took = wait::until("the store is used", || app.get("/work").status == 200);
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
        trouble(&resolver, false);
    }
}

#[test]
fn a_host_is_looked_up_again_for_each_attempt() {
    let redis = RedisServer::on_port();
    let resolver = Resolver::new();
    // Nobody listens there.
    resolver.say("127.0.0.2");
    let app = app(&resolver, &format!("redis://redis.test:{}/", redis.port()));
    assert_eq!(app.get("/work").status, 503);
    resolver.say("127.0.0.1");
    wait::until("the store is used", || app.get("/work").status == 200);
}

#[test]
fn a_lookup_that_hangs_or_fails_is_named_in_the_log() {
    for trouble in [Resolver::hang, Resolver::fail] {
        let resolver = Resolver::new();
        trouble(&resolver, true);
        let mut app = app(&resolver, "redis://redis.test/");
        assert_eq!(app.get("/work").status, 503);
        app.kill();
        assert_eq!(app.lines_with(&["ERROR", "store redis.test:6379 fails", "lookup"]), 1, "{:#?}", app.output());
    }
}

#[test]
fn an_address_is_not_looked_up() {
    let redis = RedisServer::on_port();
    let resolver = Resolver::new();
    resolver.hang(true);
    let app = app(&resolver, &redis.url());
    wait::until("the store is used", || app.get("/work").status == 200);
    assert_eq!(resolver.lookups(), [""; 0]);
}
