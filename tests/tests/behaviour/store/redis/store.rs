//! The Redis store: when it asks Redis, and what it makes of a counter that somebody else has changed.

use std::time::{Duration, Instant};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Reply, Server, request};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

#[ratelimit(limit = 100, per = FOREVER)]
async fn by_ip() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id")]
async fn twice() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id", cost = nothing, count_if = never)]
async fn free_of_charge() -> impl Responder {
    HttpResponse::Ok()
}

fn nothing(_: &HttpRequest) -> u32 {
    0
}

fn never(_: &HttpResponse) -> bool {
    false
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id")]
async fn one_rule() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-id")]
#[ratelimit(limit = 6, per = 2_000_000_000, scope = "header:x-id")]
async fn two_long_rules() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = nobody)]
#[ratelimit(limit = 2, per = FOREVER, key = nobody)]
async fn exempt() -> impl Responder {
    HttpResponse::Ok()
}

fn nobody(_: &HttpRequest) -> Option<String> {
    None
}

fn routes(config: &mut ServiceConfig) {
    config.route("/ip", web::get().to(by_ip)).route("/twice", web::get().to(twice));
    config.route("/one-rule", web::get().to(one_rule)).route("/two-long-rules", web::get().to(two_long_rules));
    config.route("/exempt", web::get().to(exempt)).route("/free", web::get().to(free_of_charge));
}

/// A limiter with a long deadline, because these tests are not about deadlines.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE)
}

fn serve(limiter: RateLimiterBuilder, url: &str) -> Served {
    Served::limited(&limiter.store(url).build().expect("a URL"), routes)
}

#[test]
fn a_script_flush_is_not_noticed() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    for remaining in (90..100).rev() {
        assert_eq!(server.get("/ip").x_headers().1, remaining);
        redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    }
}

#[test]
fn a_user_needs_no_more_than_these_privileges() {
    let redis = RedisServer::on_port();
    let privileges = format!("ACL SETUSER app on >secret ~rate-limit/* -@all {}", crate::APP_PRIVILEGES);
    redis.ask::<()>(&privileges.split(' ').collect::<Vec<_>>());
    redis.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    let url = format!("redis://app:secret@{}/", redis.address());
    let server = serve(patient().on_store_error(OnStoreError::Deny), &url);
    for path in ["/one-rule", "/two-long-rules"] {
        assert_eq!(server.statuses(path, 6), [200, 200, 200, 200, 200, 429], "{path}");
    }
    // Something else has overwritten a counter.
    for key in redis.keys() {
        redis.ask::<()>(&["SET", &key, "garbage"]);
    }
    let server = serve(patient().on_store_error(OnStoreError::Deny), &url);
    for path in ["/one-rule", "/two-long-rules"] {
        assert_eq!(server.statuses(path, 6), [200, 200, 200, 200, 200, 429], "{path}");
    }
}

#[test]
fn the_longest_deadline_is_one() {
    let redis = RedisServer::on_socket();
    let server = serve(
        RateLimiter::builder().deadline(Duration::from_secs(3600)).on_store_error(OnStoreError::Deny),
        &redis.url(),
    );
    for (status, remaining) in [(200, 1), (200, 0), (429, 0)] {
        let reply = server.get("/twice");
        assert_eq!((reply.status, reply.x_headers().1), (status, remaining));
    }
}

/// Sends the requests of all clients at once, so that their checks go to Redis together.
fn statuses_at_once(server: &Served, path: &str, clients: &[&str]) -> Vec<u16> {
    let mut connections: Vec<Connection> = clients.iter().map(|_| server.open()).collect();
    for (connection, client) in connections.iter_mut().zip(clients) {
        connection.send(&request("GET", path, &[("X-Id", client)]));
    }
    connections.iter_mut().map(|connection| connection.reply().status).collect()
}

#[test]
fn a_counter_that_something_else_has_overwritten_does_not_make_others_fail() {
    let clients = ["a", "b", "c", "spoiled", "d", "e", "f"];
    let spoil: [fn(&str) -> Vec<&str>; 9] = [
        |key| vec!["SET", key, "garbage"],
        |key| vec!["SET", key, ""],
        |key| vec!["SET", key, "1.5"],
        |key| vec!["SET", key, "0x10"],
        |key| vec!["SET", key, "1e1"],
        |key| vec!["SET", key, " 1"],
        |key| vec!["SET", key, "nan"],
        |key| vec!["HSET", key, "field", "1"],
        |key| vec!["RPUSH", key, "element"],
    ];
    let redis = RedisServer::on_socket();
    let mut failures = Vec::new();
    for path in ["/one-rule", "/two-long-rules"] {
        for spoil in spoil {
            redis.ask::<()>(&["FLUSHALL"]);
            let limiter = patient().on_store_error(OnStoreError::Deny).store(redis.url()).build().expect("a URL");
            let server = Served::limited_by(&limiter, 1, routes);
            for request in 0..7 {
                for key in redis.keys().iter().filter(|key| key.contains("spoiled")) {
                    redis.ask::<()>(&["DEL", key]);
                    redis.ask::<()>(&spoil(key));
                }
                let mut others = statuses_at_once(&server, path, &clients);
                let spoiled = others.remove(3);
                let expected = if request < 5 { [200; 6] } else { [429; 6] };
                if others != expected || ![200, 429].contains(&spoiled) {
                    let command = spoil("KEY").join(" ");
                    failures.push(format!("{path}, {command:?}, request {request}: {spoiled}, others {others:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn an_exempt_request_does_not_wait_for_a_store_that_does_not_answer() {
    let redis = RedisServer::on_port();
    let limiter = patient().on_store_error(OnStoreError::Deny).store(redis.url()).build().expect("a URL");
    let server = Served::limited_by(&limiter, 1, routes);
    let assert_at_once = |when: &str| {
        redis.pause();
        for _ in 0..3 {
            let start = Instant::now();
            let reply = server.get("/exempt");
            assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (200, None), "{when}");
            assert!(start.elapsed() < PATIENCE / 4, "{when}: an exempt request took {:?}", start.elapsed());
        }
        redis.resume();
    };
    assert_at_once("before the first check");
    assert_eq!(server.get("/ip").status, 200);
    assert_at_once("on an open connection");
    assert_eq!(server.get("/ip").x_headers().1, 98);
}

#[test]
fn a_request_that_took_nothing_asks_redis_once_and_not_again_to_give_it_back() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    // One worker, which would send a refund before the next request's check.
    let mut connection = server.open();
    let calls = || redis.calls("eval") + redis.calls("evalsha");
    assert_eq!(connection.ask("GET", "/twice", &[("X-Id", "a")]).status, 200);
    let before = calls();
    for _ in 0..5 {
        assert_eq!(connection.ask("GET", "/free", &[("X-Id", "a")]).status, 200);
    }
    assert_eq!(calls() - before, 5);
}

#[test]
fn a_counter_that_is_deleted_admits_again_within_a_second_or_so() {
    let redis = RedisServer::on_socket();
    let server = serve(patient().on_store_error(OnStoreError::Deny), &redis.url());
    // One connection, so that one worker has all requests.
    let mut connection = server.open();
    let mut ask = || connection.ask("GET", "/twice", &[("X-Id", "a")]);
    assert_eq!([ask(), ask(), ask()].map(|reply| reply.status), [200, 200, 429]);
    for _ in 0..2 {
        let reset = ask().x_headers().2;
        for _ in 0..50 {
            assert_refused(&redis, &mut ask, 2, u64::from(FOREVER), reset);
        }
        let keys = redis.keys();
        assert_eq!(keys.len(), 1, "{keys:?}");
        redis.ask::<()>(&["DEL", &keys[0]]);
        let start = Instant::now();
        let (reply, took) = wait::until_some("the counter is new", || {
            let reply = ask();
            (reply.status == 200).then_some(reply)
        });
        assert_eq!(reply.x_headers(), (2, 1, reset), "after {:?}", start.elapsed());
        assert!(took < Duration::from_secs(3), "a counter that is gone refused for {took:?}");
        assert_eq!([ask(), ask()].map(|reply| reply.status), [200, 429]);
    }
}

/// Asserts that the next answer is a refusal that says how long the window, which ends at `reset`, still is.
fn assert_refused(redis: &RedisServer, ask: &mut impl FnMut() -> Reply, limit: u64, per: u64, reset: u64) {
    let seconds = || redis.ask::<(u64, u64)>(&["TIME"]).0;
    let before = seconds();
    let reply = ask();
    let after = seconds();
    assert_eq!((reply.status, reply.x_headers()), (429, (limit, 0, reset)), "{reply:?}");
    let retry_after = reply.number("retry-after");
    assert!((1..=per).contains(&retry_after), "{reply:?}");
    // Rounding may lose a second.
    let left = reset.saturating_sub(after + 1)..=reset.saturating_sub(before).max(1);
    assert!(left.contains(&retry_after), "between {before} and {after}: {reply:?}");
}
