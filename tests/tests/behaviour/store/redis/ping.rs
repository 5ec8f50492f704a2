//! `RateLimiter::ping`: whether all servers of a store count.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ratelimit_runtime::{CheckError, OnStoreError, RateLimiter};
use ratelimit_tests::FOREVER;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::{RedisServer, Transport};
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};
use tokio::runtime::Runtime;

use crate::{APP_PRIVILEGES, CLUSTER_PRIVILEGES};

fn limiter(url: &str, deadline: Duration) -> RateLimiter {
    let builder = RateLimiter::builder().deadline(deadline).on_store_error(OnStoreError::Deny);
    builder.store(url).build().expect("a URL")
}

/// Not a worker of Actix; the tasks of the connections run on other threads.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

#[test]
fn a_ping_says_whether_a_server_answers() {
    let mut redis = RedisServer::on_port();
    let (limiter, runtime) = (limiter(&redis.url(), Duration::from_secs(1)), runtime());
    let ping = || runtime.block_on(limiter.ping());
    wait::until("Redis answers", || ping().is_ok());
    redis.kill();
    wait::until("Redis is gone", || ping() == Err(CheckError::StoreUnavailable));
    redis.restart();
    wait::until("Redis answers again", || ping().is_ok());
}

#[test]
fn a_ping_fails_within_the_deadline() {
    let redis = RedisServer::on_socket();
    let (limiter, runtime) = (limiter(&redis.url(), Duration::from_millis(300)), runtime());
    wait::until("Redis answers", || runtime.block_on(limiter.ping()).is_ok());
    redis.pause();
    let start = Instant::now();
    assert_eq!(runtime.block_on(limiter.ping()), Err(CheckError::StoreUnavailable));
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    redis.resume();
    wait::until("Redis answers again", || runtime.block_on(limiter.ping()).is_ok());
}

/// Such a server accepts connections, and answers PING.
#[test]
fn a_ping_fails_where_a_server_refuses_to_write() {
    let redis = RedisServer::on_socket();
    let (limiter, runtime) = (limiter(&redis.url(), Duration::from_secs(1)), runtime());
    let ping = || runtime.block_on(limiter.ping());
    wait::until("Redis answers", || ping().is_ok());
    redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(ping(), Err(CheckError::StoreUnavailable));
    redis.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    wait::until("Redis writes again", || ping().is_ok());
}

#[test]
fn a_ping_changes_no_limit_and_leaves_one_key_that_expires() {
    let redis = RedisServer::on_socket();
    let (limiter, runtime) = (limiter(&redis.url(), PATIENCE), runtime());
    let target = Target::new("a key", 9, FOREVER).global();
    runtime.block_on(async {
        for _ in 0..200 {
            let (first, look, second) = tokio::join!(limiter.ping(), target.peek(&limiter), limiter.ping());
            assert_eq!((first, look.map(|peek| peek.remaining()), second), (Ok(()), Ok(9), Ok(())));
        }
    });
    // One more, if a minute ends meanwhile.
    assert!((1..=2).contains(&redis.keys().len()), "{:?}", redis.keys());
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn a_ping_without_a_runtime_fails() {
    let redis = RedisServer::on_socket();
    let limiter = limiter(&redis.url(), PATIENCE);
    let polled = pin!(limiter.ping()).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Err(CheckError::StoreUnavailable)));
}

#[test]
fn a_ping_asks_each_primary_of_a_cluster() {
    let mut cluster = RedisCluster::start();
    let (limiter, runtime) = (limiter(&cluster.url(), Duration::from_secs(1)), runtime());
    // On another thread, as the task of a health check.
    let ping = || {
        let limiter = limiter.clone();
        runtime.block_on(runtime.spawn(async move { limiter.ping().await })).expect("no panic")
    };
    wait::until("all primaries answer", || ping().is_ok());
    assert_eq!(cluster.spread().iter().filter(|keys| **keys > 0).count(), 3, "{:?}", cluster.keys());
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
    for slot in [0, 8191, 16383] {
        let primary = cluster.primary_of(slot).expect("a primary");
        cluster.kill(primary);
        assert_eq!(ping(), Err(CheckError::StoreUnavailable), "without node {primary}");
        cluster.wait_for_promotion(slot);
        wait::until("its replica answers", || ping().is_ok());
        cluster.restart(primary);
        cluster.wait_until_healthy();
    }
}

#[test]
fn a_ping_needs_no_more_privileges_than_checks() {
    let user = format!("user app on >secret ~rate-limit/* -@all {APP_PRIVILEGES} {CLUSTER_PRIVILEGES}");
    let cluster = RedisCluster::with(Transport::Tcp, &[&user]);
    let runtime = runtime();
    let limiter = limiter(&cluster.url_as("app:secret@"), Duration::from_secs(1));
    wait::until("all primaries answer", || runtime.block_on(limiter.ping()).is_ok());
}

#[test]
fn a_ping_asks_the_primary_that_sentinels_name() {
    let mut sentinel = RedisSentinel::start();
    let (limiter, runtime) = (limiter(&sentinel.url(), Duration::from_secs(1)), runtime());
    let ping = || runtime.block_on(limiter.ping());
    wait::until("the primary answers", || ping().is_ok());
    sentinel.kill(0);
    wait::until("the primary is gone", || ping() == Err(CheckError::StoreUnavailable));
    sentinel.wait_for_promotion(0);
    wait::until("its replica answers", || ping().is_ok());
}
