//! `lease`: tokens are taken from Redis in advance, and never spent twice.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server};
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

use crate::exactness::{BURST, REQUESTS, across_edges, patient, race};
use crate::{EDGE, WORKERS, alone, app};

const PROCESSES: usize = 2;

/// The leases of `/leased` and `/leased-edge` in the `app`.
const LEASE: usize = 20;
const EDGE_LEASE: usize = 10;

/// The most requests that may be refused while other workers hold tokens.
const fn refused_early(lease: usize) -> usize {
    (lease - 1) * (PROCESSES * WORKERS - 1)
}

fn processes(url: &str) -> Vec<Process> {
    (0..PROCESSES).map(|_| app(&patient(url))).collect()
}

/// Sends requests through all workers until no more can pass.
fn ask_for_the_rest(processes: &[Process], mut passed: usize) -> usize {
    // More connections than workers. Workers take connections in turn.
    let mut connections: Vec<Connection> = processes.iter().flat_map(|app| [(); 4].map(|()| app.open())).collect();
    wait::until("the tokens that nobody has spent are given back", || {
        let more = connections.iter_mut().map(|connection| connection.get("/leased").status);
        passed += more.filter(|status| *status == 200).count();
        passed >= BURST
    });
    let refused = connections.iter_mut().all(|connection| connection.get("/leased").status == 429);
    assert!(refused, "more than the limit passes");
    passed
}

fn race_with_leases(url: &str) {
    let processes = processes(url);
    let statuses: BTreeMap<u16, usize> = race(&processes, "/leased");
    let passed = statuses.get(&200).copied().unwrap_or_default();
    assert_eq!(passed + statuses[&429], REQUESTS, "{statuses:?}");
    assert!((BURST - refused_early(LEASE)..=BURST).contains(&passed), "{passed} of {BURST} passed");
    assert_eq!(ask_for_the_rest(&processes, passed), BURST);
}

#[test]
fn processes_with_leases_admit_the_limit_and_not_one_more() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    race_with_leases(&redis.url());
    assert_eq!(redis.keys().iter().map(|key| redis.ask(&["GET", key])).collect::<Vec<usize>>(), [BURST]);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn processes_with_leases_admit_the_limit_and_not_one_more_in_a_cluster() {
    let _alone = alone();
    let cluster = RedisCluster::steady();
    race_with_leases(&cluster.url());
    assert_eq!(cluster.keys_without_expiry(), [""; 0]);
}

#[test]
fn no_window_admits_more_than_its_limit_with_leases() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let windows = across_edges(&processes(&redis.url()), "/leased-edge");
    assert!(windows.values().filter(|[_, refused]| *refused > 0).count() > 1, "too few requests: {windows:?}");
    for (window, [passed, refused]) in &windows {
        let early = if *refused > 0 { refused_early(EDGE_LEASE) } else { EDGE };
        let bound = EDGE.saturating_sub(early)..=EDGE;
        // The first window began before the test.
        assert!(bound.contains(passed) || windows.keys().next() == Some(window), "{passed} passed: {windows:?}");
        assert!(*passed <= EDGE, "{passed} passed: {windows:?}");
    }
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[ratelimit(limit = 100_000, per = FOREVER, scope = "global", lease = 100)]
async fn busy() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1000, per = FOREVER, scope = "header:x-id", lease = 10)]
async fn many() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/busy", web::get().to(busy)).route("/many", web::get().to(many));
}

fn serve(redis: &RedisServer) -> Served {
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    Served::limited_by(&limiter.store(redis.url()).build().expect("a URL"), 1, routes)
}

#[test]
fn a_leased_token_does_not_cost_redis_anything() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let server = serve(&redis);
    let mut connection = server.open();
    let start = Instant::now();
    for remaining in (98_000..100_000).rev() {
        let reply = connection.get("/busy");
        assert_eq!((reply.status, reply.x_headers().1), (200, remaining));
    }
    let calls = redis.calls("evalsha") as u64;
    assert!(calls > 0, "no script was called");
    // A lease is valid for at most a second. Then the next one is taken.
    let leases = 2000 / 100 + start.elapsed().as_secs();
    assert!(calls <= 3 * leases, "{calls} calls for {leases} leases");
}

#[test]
fn unspent_leases_of_many_clients_are_refunded() {
    const CLIENTS: usize = 3000;
    let _alone = alone();
    let redis = RedisServer::on_port();
    let server = serve(&redis);
    let connection = Mutex::new(server.open());
    let ask = |client: usize| connection.lock().unwrap().ask("GET", "/many", &[("X-Id", &client.to_string())]).status;
    assert!((0..CLIENTS).all(|client| ask(client) == 200));
    // More clients than a worker remembers. It refunds tokens that make room for others or stay unspent for a second.
    const SUM: &str = "local sum = 0 \
        for _, key in ipairs(redis.call('KEYS', '*many*')) do \
            if not string.find(key, '/header:x-id:0/', 1, true) then sum = sum + redis.call('GET', key) end \
        end \
        return sum";
    wait::until("only what was used is counted", || {
        assert_eq!(ask(0), 200);
        redis.ask::<usize>(&["EVAL", SUM, "0"]) == CLIENTS - 1
    });
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}
