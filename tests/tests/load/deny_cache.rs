//! Many full counters: a process refuses by itself, until the end of the window at most.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder, rt};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};

use crate::alone;

/// More counters than a worker remembers, and than the deny cache rechecks in Redis per second.
const CLIENTS: usize = 5000;

/// The clients that the tests watch.
const ONE: &str = "one";

#[ratelimit(limit = 1, per = FOREVER, scope = "header:x-id", key = "many")]
async fn many() -> impl Responder {
    HttpResponse::Ok()
}

static IS_OVER: AtomicBool = AtomicBool::new(false);

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

/// Answers when a test allows it, and is refunded then.
#[ratelimit(limit = 1, per = FOREVER, scope = "header:x-id", key = "many", count_if = failed)]
async fn not_counted() -> impl Responder {
    while !IS_OVER.load(SeqCst) {
        rt::time::sleep(Duration::from_millis(1)).await;
    }
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/many", web::get().to(many)).route("/not-counted", web::get().to(not_counted));
}

fn limiter(redis: &RedisServer) -> RateLimiter {
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    limiter.store(redis.url()).build().expect("a URL")
}

/// One worker, and a connection to it.
struct Process {
    _server: Served,
    connection: Connection,
}

impl Process {
    fn start(redis: &RedisServer) -> Self {
        let server = Served::limited_by(&limiter(redis), 1, routes);
        let connection = server.open();
        Self { _server: server, connection }
    }

    fn status(&mut self, client: &str) -> u16 {
        self.connection.ask("GET", "/many", &[("X-Id", client)]).status
    }

    /// The statuses of some clients.
    fn statuses(&mut self, clients: impl Iterator<Item = usize>) -> Vec<u16> {
        clients.map(|client| self.status(&client.to_string())).collect()
    }

    /// Uses up the limits of all clients, and waits until few of their checks go to Redis.
    fn fill(&mut self, redis: &RedisServer) {
        assert!(self.statuses(0..CLIENTS).iter().all(|status| *status == 200));
        wait::until("clients over their limit cost Redis little", || {
            let before = counted(redis);
            assert!(self.statuses(0..CLIENTS).iter().all(|status| *status == 429));
            counted(redis) - before < CLIENTS / 2
        });
    }
}

/// The number of counters that Redis was asked for.
fn counted(redis: &RedisServer) -> usize {
    redis.calls("incrby")
}

/// Asserts that a refused client passes again within a second after `relief`. The many other refused clients keep random
/// rechecks from being the reason.
fn assert_seen(redis: &RedisServer, process: &mut Process, relief: impl FnOnce()) {
    process.fill(redis);
    wait::until("a request is refused without Redis", || {
        process.statuses(0..CLIENTS);
        let before = counted(redis);
        assert_eq!(process.status(ONE), 429);
        counted(redis) == before
    });
    relief();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        process.statuses(0..1500);
    }
    assert_eq!(process.status(ONE), 200, "after {:?}", start.elapsed());
    assert_eq!(process.status(ONE), 429);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn a_reset_by_another_process_is_seen_however_many_are_refused() {
    let _alone = alone();
    let redis = RedisServer::on_socket();
    let mut process = Process::start(&redis);
    assert_eq!(process.status(ONE), 200);
    let other = limiter(&redis);
    assert_seen(&redis, &mut process, || {
        let target = Target::new("many", 1, FOREVER).header("x-id", ONE);
        rt::Runtime::new().expect("a runtime").block_on(target.reset(&other)).expect("Redis answers");
    });
}

#[test]
fn a_refund_of_another_process_is_seen_however_many_are_refused() {
    let _alone = alone();
    let redis = RedisServer::on_socket();
    let other = Process::start(&redis);
    let mut connection = other.connection;
    let asked = thread::spawn(move || connection.ask("GET", "/not-counted", &[("X-Id", ONE)]).status);
    wait::until("the request is counted", || !redis.keys().is_empty());
    let key = redis.keys().remove(0);
    let mut process = Process::start(&redis);
    assert_seen(&redis, &mut process, || {
        IS_OVER.store(true, SeqCst);
        assert_eq!(asked.join().expect("an answer"), 200);
        wait::until("it is given back", || redis.ask::<Option<u32>>(&["GET", &key]).is_none());
    });
}

#[test]
fn that_all_counters_are_gone_is_seen_however_many_are_refused() {
    let _alone = alone();
    let redis = RedisServer::on_socket();
    let mut process = Process::start(&redis);
    assert_eq!(process.status(ONE), 200);
    assert_seen(&redis, &mut process, || redis.ask(&["FLUSHALL"]));
}
