//! Workers that are late: a handler that blocks, a process that is stopped. The store has not failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratelimit_tests::http::{Connection, Server};
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::outage::NOISE;
use crate::{alone, app};

/// A time above the default deadline of a check.
const BLOCK: Duration = Duration::from_millis(150);

/// An application with one worker and the default deadline, and the proxy between it and Redis.
struct Stage {
    app: Process,
    proxy: Proxy,
    redis: RedisServer,
}

impl Stage {
    fn set() -> Self {
        let stage = Self::before_the_first_check();
        wait::until("the application counts in the store", || stage.app.get("/work").status == 200);
        stage
    }

    fn before_the_first_check() -> Self {
        let redis = RedisServer::on_port();
        let proxy = Proxy::to(redis.address());
        let app = app(&[("APP_STORE", &proxy.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
        Self { app, proxy, redis }
    }

    /// Asserts that the store never failed, and that one connection served all checks.
    fn assert_undisturbed(&mut self, connections: usize) {
        assert_eq!(self.proxy.accepted(), connections, "the application has connected anew");
        self.app.kill();
        assert_eq!(self.app.lines_with(&["ERROR"]) + self.app.lines_with(&["WARN"]), 0, "{:#?}", self.app.output());
    }
}

/// Clients that ask for one path each, with a pause after each answer, until this is dropped.
struct Clients {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn ask(app: &Process, count: usize, path: &str, pause: Duration) -> Self {
        Self::ask_for(app, count, path, pause, &[200])
    }

    fn ask_for(app: &Process, count: usize, path: &str, pause: Duration, statuses: &'static [u16]) -> Self {
        let over = Arc::<AtomicBool>::default();
        let client = |_| {
            let (over, path, address) = (Arc::clone(&over), path.to_owned(), app.address());
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                while !over.load(SeqCst) {
                    let status = connection.get(&path).status;
                    assert!(statuses.contains(&status), "{path}: {status}");
                    thread::sleep(pause);
                }
            })
        };
        let threads = (0..count).map(client).collect();
        Self { over, threads }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        let failed = self.threads.drain(..).filter_map(|client| client.join().err()).count();
        assert!(failed == 0 || thread::panicking(), "{failed} clients got no answer");
    }
}

/// The statuses of this many requests, which several clients send at once.
fn statuses(app: &Process, clients: usize, requests: usize) -> Vec<u16> {
    let address = app.address();
    let client = |_| {
        thread::spawn(move || {
            let mut connection = Connection::open(address);
            (0..requests).map(|_| connection.get("/work").status).collect::<Vec<_>>()
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    clients.into_iter().flat_map(|client| client.join().expect("a client that was answered")).collect()
}

#[test]
fn a_handler_that_blocks_its_worker_is_no_outage() {
    let _alone = alone();
    let mut stage = Stage::set();
    let connections = stage.proxy.accepted();
    let blocking = Clients::ask(&stage.app, 1, &format!("/busy/{}", BLOCK.as_millis()), Duration::ZERO);
    let statuses = statuses(&stage.app, 5, 8);
    drop(blocking);
    assert_eq!(statuses, [200; 40]);
    stage.assert_undisturbed(connections);
}

#[test]
fn a_worker_that_is_busy_from_the_start_connects_for_its_first_check() {
    let _alone = alone();
    let mut stage = Stage::before_the_first_check();
    let blocking = Clients::ask(&stage.app, 2, "/busy/100", Duration::ZERO);
    assert_eq!(statuses(&stage.app, 3, 3), [200; 9]);
    drop(blocking);
    stage.assert_undisturbed(1);
}

#[test]
fn several_handlers_that_block_their_worker_are_no_outage() {
    let _alone = alone();
    let mut stage = Stage::set();
    let connections = stage.proxy.accepted();
    let blocking = Clients::ask(&stage.app, 4, "/busy/60", Duration::from_millis(20));
    let statuses = statuses(&stage.app, 5, 8);
    drop(blocking);
    assert_eq!(statuses, [200; 40]);
    stage.assert_undisturbed(connections);
}

#[test]
fn a_process_that_was_stopped_finds_its_store_as_it_was() {
    let _alone = alone();
    let mut stage = Stage::set();
    let connections = stage.proxy.accepted();
    // So that the application always waits for answers when it is stopped.
    stage.proxy.delay_replies(Duration::from_millis(20));
    let load = Clients::ask(&stage.app, 1, "/work", Duration::ZERO);
    for _ in 0..20 {
        stage.app.pause();
        thread::sleep(BLOCK);
        stage.app.resume();
        assert_eq!(stage.app.get("/work").status, 200);
    }
    drop(load);
    stage.assert_undisturbed(connections);
}

#[test]
fn a_process_that_is_throttled_has_no_outage() {
    let _alone = alone();
    let mut stage = Stage::set();
    let connections = stage.proxy.accepted();
    let load = Clients::ask(&stage.app, 4, "/work", Duration::ZERO);
    for _ in 0..25 {
        stage.app.pause();
        thread::sleep(Duration::from_millis(180));
        stage.app.resume();
        thread::sleep(Duration::from_millis(20));
    }
    drop(load);
    stage.assert_undisturbed(connections);
}

#[test]
fn a_worker_that_is_busy_half_of_the_time_finds_a_returned_store_within_two_seconds() {
    let _alone = alone();
    let mut stage = Stage::set();
    let blocking = Clients::ask(&stage.app, 1, "/busy/100", Duration::from_millis(100));
    for _ in 0..3 {
        stage.redis.kill();
        stage.proxy.drop_connections();
        wait::until("the outage is noticed", || stage.app.get("/work").status == 503);
        // By now the pauses between attempts have their full length.
        thread::sleep(Duration::from_secs(2));
        stage.redis.restart();
        let took = wait::until("the store is used", || stage.app.get("/work").status == 200);
        assert!(took < Duration::from_secs(2) + NOISE, "the store is back for {took:?} before it is used");
    }
    drop(blocking);
}

#[test]
fn a_worker_that_is_always_busy_finds_a_returned_store_all_the_same() {
    let _alone = alone();
    let mut stage = Stage::set();
    // A turn of the worker takes 400 milliseconds.
    let blocking = Clients::ask(&stage.app, 4, "/busy/100", Duration::ZERO);
    let limited = Clients::ask_for(&stage.app, 1, "/work", Duration::ZERO, &[200, 503]);
    for _ in 0..3 {
        stage.redis.kill();
        stage.proxy.drop_connections();
        thread::sleep(Duration::from_secs(3));
        stage.redis.restart();
        let took = wait::until("the store is used", || stage.redis.keys().iter().any(|key| key.contains("work")));
        assert!(took < Duration::from_secs(4) + NOISE, "the store is back for {took:?} before it is used");
    }
    drop((blocking, limited));
}

#[test]
fn a_worker_that_is_late_for_its_windows_is_answered() {
    let _alone = alone();
    let mut stage = Stage::set();
    let connections = stage.proxy.accepted();
    // The windows of `/edge` are a second long: most of them are over when the worker reads the reply.
    let blocking = Clients::ask(&stage.app, 1, "/busy/700", Duration::ZERO);
    let limited = Clients::ask_for(&stage.app, 3, "/edge", Duration::ZERO, &[200, 429]);
    thread::sleep(Duration::from_secs(8));
    drop((limited, blocking));
    stage.assert_undisturbed(connections);
}

/// Asserts that busy workers get all answers of a healthy store.
fn assert_busy_workers_are_answered(url: &str) {
    let mut app = app(&[("APP_STORE", url), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
    let blocking = Clients::ask(&app, 1, &format!("/busy/{}", BLOCK.as_millis()), Duration::from_millis(20));
    // A 429 is an answer, too: `/leased` admits a thousand.
    let limited =
        ["/work", "/pair", "/both", "/leased"].map(|path| Clients::ask_for(&app, 1, path, Duration::ZERO, &[200, 429]));
    thread::sleep(Duration::from_secs(3));
    drop((limited, blocking));
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]) + app.lines_with(&["WARN"]), 0, "{:#?}", app.output());
}

#[test]
fn a_worker_that_is_busy_is_answered_by_a_cluster() {
    let _alone = alone();
    let cluster = RedisCluster::start();
    assert_busy_workers_are_answered(&cluster.url());
}

#[test]
fn a_worker_that_is_busy_is_answered_behind_sentinels() {
    let _alone = alone();
    let sentinel = RedisSentinel::start();
    assert_busy_workers_are_answered(&sentinel.url());
}
