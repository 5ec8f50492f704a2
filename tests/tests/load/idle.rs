//! Idle connections that something between the application and Redis has forgotten, or that are slow.

use std::thread;
use std::time::{Duration, Instant};

use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::outage::NOISE;
use crate::{alone, app};

const DEADLINE: Duration = Duration::from_secs(1);

/// A time above the idle time after which silence is no failure.
const IDLE: Duration = Duration::from_millis(2500);

struct Stage {
    app: Process,
    proxy: Proxy,
    redis: RedisServer,
}

impl Stage {
    /// An application with one worker whose connection is idle.
    fn set() -> Self {
        let redis = RedisServer::on_port();
        let proxy = Proxy::to(redis.address());
        let deadline = DEADLINE.as_millis().to_string();
        let settings = [("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1"), ("APP_DEADLINE_MS", &deadline)];
        let app = app(&[&settings[..], &[("APP_STORE", &proxy.url())]].concat());
        wait::until("the application counts in the store", || app.get("/work").status == 200);
        thread::sleep(IDLE);
        Self { app, proxy, redis }
    }

    fn assert_log_is_empty(&mut self) {
        self.app.kill();
        assert_eq!(self.app.lines_with(&["ERROR"]) + self.app.lines_with(&["WARN"]), 0, "{:#?}", self.app.output());
    }
}

#[test]
fn a_connection_that_was_forgotten_while_it_was_idle_is_replaced_quietly() {
    let _alone = alone();
    let mut stage = Stage::set();
    for _ in 0..2 {
        stage.proxy.forget_connections();
        let start = Instant::now();
        assert_eq!(stage.app.get("/work").status, 200);
        assert!(start.elapsed() < DEADLINE + NOISE, "{:?}", start.elapsed());
        wait::until("the forgotten connection is closed", || stage.redis.clients() == 1);
        thread::sleep(IDLE);
    }
    assert_eq!(stage.proxy.accepted(), 3);
    stage.assert_log_is_empty();
}

#[test]
fn an_idle_connection_whose_server_is_slow_is_kept() {
    let _alone = alone();
    let mut stage = Stage::set();
    stage.proxy.delay_replies(DEADLINE * 7 / 10);
    assert_eq!(stage.app.get("/work").status, 200);
    stage.proxy.heal();
    assert_eq!(stage.app.get("/work").status, 200);
    wait::until("the other connection is closed", || stage.redis.clients() == 1);
    stage.assert_log_is_empty();
}

#[test]
fn an_idle_connection_whose_server_is_stopped_fails_at_the_deadline() {
    let _alone = alone();
    let mut stage = Stage::set();
    stage.redis.pause();
    let start = Instant::now();
    assert_eq!(stage.app.get("/work").status, 503);
    assert!(start.elapsed() < DEADLINE + NOISE, "{:?}", start.elapsed());
    stage.redis.resume();
    wait::until("the store is used", || stage.app.get("/work").status == 200);
    stage.app.kill();
    assert_eq!(stage.app.lines_with(&["ERROR", "no answer within"]), 1, "{:#?}", stage.app.output());
}

#[test]
fn the_log_says_that_a_store_is_back_though_nobody_asks() {
    let _alone = alone();
    let mut stage = Stage::set();
    stage.redis.kill();
    wait::until("the outage is noticed", || stage.app.get("/work").status == 503);
    stage.redis.restart();
    wait::until("the log says that it is over", || stage.app.lines_with(&["is back"]) == 1);
    stage.app.kill();
    assert_eq!(stage.app.lines_with(&["ERROR"]), 1, "{:#?}", stage.app.output());
}
