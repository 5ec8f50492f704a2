//! `on_store_error` of the limiter and of the attribute: the answer to a request while Redis is down.

use std::time::{Duration, Instant};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{CheckError, OnStoreError, RateLimitState, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait;

use crate::alone;
use crate::outage::NOISE;

const DEFAULT_DEADLINE: Duration = Duration::from_millis(100);

#[ratelimit(limit = 2, per = FOREVER)]
async fn as_the_limiter_says() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "local")]
async fn local() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "allow")]
async fn allow(state: RateLimitState) -> String {
    state.is_counted().to_string()
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "local")]
async fn degraded_local(state: RateLimitState) -> String {
    format!("counted {}, degraded {}", state.is_counted(), state.is_degraded())
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "allow")]
async fn degraded_allow(state: RateLimitState) -> String {
    format!("counted {}, degraded {}", state.is_counted(), state.is_degraded())
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "deny")]
async fn deny() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "allow")]
#[ratelimit(limit = 3, per = FOREVER, on_store_error = "local", scope = "global")]
async fn allow_and_local() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, on_store_error = "local")]
#[ratelimit(limit = 3, per = FOREVER, on_store_error = "deny", scope = "global")]
async fn local_and_deny() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/limiter", web::get().to(as_the_limiter_says)).route("/local", web::get().to(local));
    config.route("/allow", web::get().to(allow)).route("/deny", web::get().to(deny));
    config.route("/degraded/local", web::get().to(degraded_local));
    config.route("/degraded/allow", web::get().to(degraded_allow));
    config.route("/allow-and-local", web::get().to(allow_and_local));
    config.route("/local-and-deny", web::get().to(local_and_deny));
}

/// A server whose Redis is down.
fn serve(on_store_error: OnStoreError) -> Served {
    let mut redis = RedisServer::on_port();
    redis.kill();
    let limiter = RateLimiter::builder().on_store_error(on_store_error).store(redis.url()).build().expect("a URL");
    Served::limited(&limiter, routes)
}

#[test]
fn the_limiter_says_what_becomes_of_a_request() {
    let _alone = alone();
    for (on_store_error, statuses) in [
        (OnStoreError::Local, [200, 200, 429, 429]),
        (OnStoreError::Allow, [200, 200, 200, 200]),
        (OnStoreError::Deny, [503, 503, 503, 503]),
    ] {
        assert_eq!(serve(on_store_error).statuses("/limiter", 4), statuses, "{on_store_error:?}");
    }
}

#[test]
fn a_decision_without_the_store_is_degraded() {
    let _alone = alone();
    let down = serve(OnStoreError::Deny);
    assert_eq!(down.get("/degraded/local").body, "counted true, degraded true");
    assert_eq!(down.get("/degraded/allow").body, "counted false, degraded true");
    let redis = RedisServer::on_port();
    let limiter = RateLimiter::builder().deadline(wait::PATIENCE).store(redis.url()).build().expect("a URL");
    let up = Served::limited(&limiter, routes);
    for path in ["/degraded/local", "/degraded/allow"] {
        assert_eq!(up.get(path).body, "counted true, degraded false", "{path}");
    }
}

#[test]
fn the_attribute_goes_before_the_limiter() {
    let _alone = alone();
    for on_store_error in [OnStoreError::Local, OnStoreError::Allow, OnStoreError::Deny] {
        let server = serve(on_store_error);
        for (path, statuses) in [
            ("/local", [200, 200, 429, 429]),
            ("/allow", [200, 200, 200, 200]),
            ("/deny", [503, 503, 503, 503]),
            ("/allow-and-local", [200, 200, 200, 429]),
            ("/local-and-deny", [503, 503, 503, 503]),
        ] {
            assert_eq!(server.statuses(path, 4), statuses, "{path} with {on_store_error:?}");
        }
    }
}

#[test]
fn a_store_that_never_answers_keeps_nobody_waiting() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    // The system accepts connections.
    redis.pause();
    let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny).store(redis.url()).build().expect("a URL");
    let server = Served::limited(&limiter, routes);
    let outage = Instant::now();
    for _ in 0..100 {
        let start = Instant::now();
        assert_eq!(server.get("/limiter").status, 503);
        assert!(start.elapsed() < DEFAULT_DEADLINE + NOISE, "a request took {:?}", start.elapsed());
    }
    // The first request of each worker waits for its deadline. The others do not wait.
    assert!(outage.elapsed() < 50 * DEFAULT_DEADLINE, "100 requests took {:?}", outage.elapsed());
    redis.resume();
    let back = wait::until("the store is used", || server.get("/limiter").status == 200);
    assert!(back < Duration::from_secs(1) + NOISE, "Redis is back for {back:?} before it is used");
}

#[test]
fn a_look_and_a_reset_end_at_the_deadline() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    redis.pause();
    let limiter = RateLimiter::open(&redis.url()).expect("a URL");
    let target = Target::new("a key", 2, FOREVER).global();
    actix_web::rt::System::new().block_on(async {
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(target.peek(&limiter).await.map(drop), Err(CheckError::StoreUnavailable));
            assert_eq!(target.reset(&limiter).await, Err(CheckError::StoreUnavailable));
            assert!(start.elapsed() < 2 * DEFAULT_DEADLINE + NOISE, "both took {:?}", start.elapsed());
        }
    });
    redis.resume();
}

#[test]
fn connecting_and_the_first_check_share_one_deadline() {
    const DEADLINE: Duration = Duration::from_secs(1);
    let _alone = alone();
    let redis = RedisServer::on_port();
    let proxy = Proxy::to(redis.address());
    // The delay is below the deadline for the connection and for the check alone, but above it for both.
    proxy.delay_replies(DEADLINE * 60 / 100);
    for _ in 0..3 {
        let limiter = RateLimiter::builder().on_store_error(OnStoreError::Deny).deadline(DEADLINE);
        let limiter = limiter.store(proxy.url()).build().expect("a URL");
        let server = Served::limited_by(&limiter, 1, routes);
        let start = Instant::now();
        assert_eq!(server.get("/limiter").status, 503);
        assert!(start.elapsed() < DEADLINE + NOISE, "the first request took {:?}", start.elapsed());
    }
}

#[test]
fn local_counts_and_tells_as_ever() {
    let _alone = alone();
    let server = serve(OnStoreError::Local);
    for (status, remaining) in [(200, 1), (200, 0), (429, 0)] {
        let reply = server.get("/limiter");
        assert_eq!((reply.status, reply.x_headers().1), (status, remaining));
        assert_eq!(reply.x_headers().2 % u64::from(FOREVER), 0);
    }
}

#[test]
fn allow_counts_nothing_and_tells_nothing() {
    let _alone = alone();
    let reply = serve(OnStoreError::Deny).get("/allow");
    assert_eq!((reply.status, reply.body.as_str()), (200, "false"));
    assert_eq!(reply.header("x-ratelimit-limit"), None);
}

#[test]
fn deny_is_a_problem_that_says_when_to_come_back() {
    let _alone = alone();
    let reply = serve(OnStoreError::Deny).get("/limiter");
    assert_eq!((reply.status, reply.header("content-type")), (503, Some("application/problem+json")));
    assert_eq!((reply.number("retry-after"), reply.header("cache-control")), (1, Some("no-store")));
    let problem: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(problem["status"], 503);
}
