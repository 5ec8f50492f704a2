//! `on_store_error = "local"`: when its store fails, a process continues from the counts that it has seen.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{ManualClock, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait;

use crate::alone;

#[ratelimit(limit = 10, per = FOREVER, scope = "header:x-id")]
async fn ten() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 10, per = FOREVER, scope = "header:x-id")]
#[ratelimit(limit = 15, per = FOREVER, scope = "global")]
async fn two_rules() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 10, per = 2, scope = "global")]
async fn short() -> impl Responder {
    HttpResponse::Ok()
}

/// The number of waiting requests, and whether they may continue.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

/// A success is refunded.
#[ratelimit(limit = 10, per = FOREVER, scope = "header:x-id", key = "login", count_if = failed)]
async fn login(request: HttpRequest) -> impl Responder {
    let has = |name| request.headers().contains_key(name);
    if has("x-waits") {
        WAITING.fetch_add(1, SeqCst);
        while !MAY_GO_ON.load(SeqCst) {
            actix_web::rt::time::sleep(Duration::from_millis(1)).await;
        }
    }
    if has("x-fails") { HttpResponse::Forbidden() } else { HttpResponse::Ok() }
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/login", web::get().to(login));
    config.route("/ten", web::get().to(ten)).route("/two-rules", web::get().to(two_rules));
    config.route("/short", web::get().to(short));
}

/// The deadline is long, because late checks would be counted twice.
fn serve(url: &str) -> Served {
    Served::limited(&patient().store(url).build().expect("a URL"), routes)
}

fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(Duration::from_secs(5))
}

/// The number of these requests that pass. Each has its own connection, so they go through the workers in turn.
fn passed(server: &Served, path: &str, client: &str, requests: usize) -> usize {
    (0..requests).filter(|_| server.get_with(path, &[("X-Id", client)]).status == 200).count()
}

#[test]
fn a_client_has_left_what_it_had_left() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let server = serve(&redis.url());
    for (client, used) in [("a", 7), ("b", 1), ("c", 10), ("d", 12)] {
        assert_eq!(passed(&server, "/ten", client, used), used.min(10), "{client}");
    }
    redis.kill();
    for (client, left) in [("a", 3), ("b", 9), ("c", 0), ("d", 0), ("e", 10)] {
        assert_eq!(passed(&server, "/ten", client, 14), left, "{client}");
    }
}

#[test]
fn what_was_seen_of_other_processes_counts() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let [here, there] = [(); 2].map(|()| serve(&redis.url()));
    assert_eq!((passed(&here, "/ten", "a", 4), passed(&there, "/ten", "a", 3)), (4, 3));
    redis.kill();
    // This process has seen that three are left.
    assert_eq!(passed(&there, "/ten", "a", 14), 3);
}

#[test]
fn an_earlier_refund_stays() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let server = serve(&redis.url());
    assert_eq!(passed(&server, "/login", "a", 9), 9);
    redis.kill();
    let failures = (0..14).filter(|_| server.get_with("/login", &[("X-Id", "a"), ("X-Fails", "")]).status == 403);
    assert_eq!(failures.count(), 10);
}

#[test]
fn what_was_reset_before_is_left() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let limiter = patient().store(redis.url()).build().expect("a URL");
    let server = Served::limited(&limiter, routes);
    assert_eq!(passed(&server, "/ten", "a", 7), 7);
    let target = Target::new(concat!(module_path!(), "::ten"), 10, FOREVER).header("x-id", "a");
    actix_web::rt::System::new().block_on(target.reset(&limiter)).expect("Redis is up");
    redis.kill();
    assert_eq!(passed(&server, "/ten", "a", 14), 10);
}

#[test]
fn a_local_charge_is_not_refunded_to_the_store() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let limiter = RateLimiter::builder().deadline(Duration::from_millis(500));
    // One worker, so that its requests reach Redis in order.
    let server = Served::limited_by(&limiter.store(redis.url()).build().expect("a URL"), 1, routes);
    let fail = |client| server.get_with("/login", &[("X-Id", client), ("X-Fails", "")]).status;
    let counted = |client: &str| -> u64 {
        let key = redis.keys().into_iter().find(|key| key.contains(&format!("x-id:{client}/")));
        key.map_or(0, |key| redis.ask(&["GET", &key]))
    };
    assert_eq!(fail("a"), 403);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut slow = server.open();
    slow.send(&ratelimit_tests::http::request("GET", "/login", &[("X-Id", "a"), ("X-Waits", "")]));
    wait::until("the slow request is admitted", || WAITING.load(SeqCst) == 1);
    assert_eq!(counted("a"), 1);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    wait::until("Redis counts again", || {
        fail("b");
        counted("b") > 0
    });
    MAY_GO_ON.store(true, SeqCst);
    assert_eq!(slow.reply().status, 200);
    assert_eq!((fail("a"), counted("a")), (403, 2));
}

#[test]
fn a_clock_that_the_application_sets_is_that_of_the_counters_that_stand_in() {
    const START: u64 = 1_700_000_001;
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let clock = ManualClock::new(START);
    let limiter = patient().clock(clock.clone()).store(redis.url()).build().expect("a URL");
    let server = Served::limited(&limiter, routes);
    assert_eq!(server.get("/short").status, 200);
    redis.kill();
    for window_end in [START + 1, START + 3] {
        clock.set(window_end - 1);
        for remaining in (0..10).rev() {
            assert_eq!(server.get("/short").x_headers(), (10, remaining, window_end));
        }
        assert_eq!(server.get("/short").status, 429);
    }
}

#[test]
fn each_rule_of_a_request_counts_on() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let server = serve(&redis.url());
    assert_eq!((passed(&server, "/two-rules", "a", 4), passed(&server, "/two-rules", "b", 7)), (4, 7));
    redis.kill();
    assert_eq!(passed(&server, "/two-rules", "b", 8), 3);
    assert_eq!(passed(&server, "/two-rules", "c", 8), 1);
}

#[test]
fn the_counters_of_a_cluster_count_on() {
    let _alone = alone();
    let mut cluster = RedisCluster::start();
    let server = serve(&cluster.url());
    for client in ["a", "b", "c"] {
        assert_eq!(passed(&server, "/ten", client, 7), 7);
    }
    for node in 0..6 {
        cluster.kill(node);
    }
    for client in ["a", "b", "c"] {
        assert_eq!(passed(&server, "/ten", client, 14), 3);
    }
}

#[test]
fn the_next_window_begins_with_the_whole_limit() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let server = serve(&redis.url());
    passed(&server, "/short", "", 12);
    redis.kill();
    let mut window = server.get("/short").x_headers().2;
    for _ in 0..2 {
        let next = || Some(server.get("/short")).filter(|reply| reply.x_headers().2 > window);
        let (first, _) = wait::until_some("the next window begins", next);
        assert_eq!((first.status, first.x_headers().1, first.x_headers().2), (200, 9, window + 2));
        assert_eq!(passed(&server, "/short", "", 12), 9);
        window = first.x_headers().2;
    }
}

#[test]
fn a_store_that_comes_back_with_its_data_has_its_word_again() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let limiter = RateLimiter::builder().deadline(Duration::from_millis(500));
    let server = Served::limited(&limiter.store(redis.url()).build().expect("a URL"), routes);
    assert_eq!(passed(&server, "/ten", "a", 7), 7);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(passed(&server, "/ten", "a", 12), 3);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    // Redis did not count the requests that passed meanwhile.
    let mut more = 0;
    wait::until("Redis has counted the rest", || {
        more += passed(&server, "/ten", "a", 1);
        redis.keys().iter().any(|key| key.contains("x-id:a") && redis.ask::<u64>(&["GET", key]) == 10)
    });
    assert!(more <= 3, "{more} more passed");
    assert_eq!(passed(&server, "/ten", "a", 4), 0);
}
