//! What processes remember of blocks that are kept in Redis.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::web::get;
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use super::{Blocking, FIXED, at};

fn rows(request: &HttpRequest) -> u32 {
    request.headers().get("x-rows").and_then(|rows| rows.to_str().ok()?.parse().ok()).unwrap_or(1)
}

#[ratelimit("100000/hour", scope = "header:x-id", cost = rows, block = "1s")]
async fn export() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_reset_while_the_subject_goes_on_leaves_no_block() {
    let redis = RedisServer::on_port();
    let proxy = Proxy::to(redis.address());
    // A process that remembers nothing of the subject.
    let fresh = || Blocking::new(at(&redis.url()));
    fresh().exhaust(&FIXED, "mallory");
    let is_reset = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let slow = Blocking::new(at(&proxy.url()));
            slow.peek(&FIXED, "alice");
            proxy.delay_replies(Duration::from_millis(300));
            slow.reset(&FIXED, "mallory");
            is_reset.store(true, Relaxed);
        });
        while !is_reset.load(Relaxed) {
            let limiter = fresh();
            if limiter.peek(&FIXED, "mallory").remaining() == 0 {
                limiter.check(&FIXED, "mallory");
            }
        }
    });
    assert!(!fresh().peek(&FIXED, "mallory").is_blocked());
}

#[test]
fn a_block_that_was_lifted_elsewhere_does_not_come_back_when_redis_fails() {
    let mut redis = RedisServer::on_socket();
    let build = || RateLimiter::builder().store(redis.url()).deadline(Duration::from_millis(500)).build();
    let (limiter, other) = (Blocking::new(build().expect("a URL")), Blocking::new(build().expect("a URL")));
    limiter.block(&FIXED, "mallory", Duration::from_secs(60)).expect("a store");
    other.reset(&FIXED, "mallory");
    wait::until("the block is lifted", || limiter.admits(&FIXED, "mallory"));
    redis.kill();
    wait::until("Redis is known to be down", || limiter.check(&FIXED, "alice").is_degraded());
    let state = limiter.check(&FIXED, "mallory");
    assert!(state.is_degraded() && state.is_admitted(), "{state:?}");
}

#[test]
fn a_cheaper_request_is_admitted_as_soon_as_the_block_ends() {
    let mut redis = RedisServer::on_socket();
    let limiter =
        RateLimiter::builder().store(redis.url()).deadline(Duration::from_millis(500)).build().expect("a URL");
    let app = Served::limited(&limiter, |config| {
        config.route("/export", get().to(export));
    });
    let export = |rows: &str| app.get_with("/export", &[("X-Id", "alice"), ("X-Rows", rows)]);
    let limiter = Blocking::new(limiter);
    limiter.exhaust(&FIXED, "mallory");
    // Others' requests, more than the deny cache sends to Redis.
    let load = || (0..50).for_each(|_| assert!(!limiter.admits(&FIXED, "mallory")));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        load();
    }
    assert_eq!([export("60000").status, export("60000").status], [200, 429]);
    let refused = Instant::now();
    wait::until("the block has ended", || {
        load();
        refused.elapsed() > Duration::from_millis(2100)
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        load();
        assert_eq!(export("1").status, 200);
    }
    redis.kill();
    wait::until("Redis is known to be down", || limiter.check(&FIXED, "bob").is_degraded());
    assert_eq!(export("1").status, 200);
}
