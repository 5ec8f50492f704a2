//! Fixed windows in Redis: the clock of Redis decides them, and one follows the other.

use std::time::SystemTime;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{ManualClock, OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

#[ratelimit(limit = 2, per = 1, scope = "header:x-id")]
async fn short() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = 3600, scope = "global")]
async fn hourly() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 2, scope = "header:x-id")]
async fn twice_in_two_seconds() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/short", web::get().to(short)).route("/hourly", web::get().to(hourly));
    config.route("/two-seconds", web::get().to(twice_in_two_seconds));
}

/// A limiter with a long deadline, because these tests are not about deadlines.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE)
}

fn serve(limiter: RateLimiterBuilder, url: &str) -> Served {
    Served::limited(&limiter.store(url).build().expect("a URL"), routes)
}

#[test]
fn expired_counters_leave() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    for client in 0..20 {
        let reply = server.get_with("/short", &[("X-Id", &client.to_string())]);
        assert_eq!(reply.x_headers().1, 1, "client {client}");
    }
    wait::until("the counters have left", || redis.ask::<i64>(&["DBSIZE"]) == 0);
}

#[test]
fn the_clock_of_the_store_decides_the_window() {
    let redis = RedisServer::on_socket();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs();
    let clocks = [now - 5400, now, now + 5400].map(ManualClock::new);
    let servers = clocks.map(|clock| serve(patient().clock(clock), &redis.url()));
    wait_for_the_middle_of_an_hour(&redis);
    let (hour, _) = redis.ask::<(u64, u64)>(&["TIME"]);
    let expected = (hour / 3600 + 1) * 3600;
    for (index, server) in servers.iter().enumerate() {
        assert_eq!(server.get("/hourly").x_headers(), (100, 99 - index as u64, expected), "server {index}");
    }
}

/// Waits, because within the last seconds of an hour the test would see it end.
fn wait_for_the_middle_of_an_hour(redis: &RedisServer) {
    wait::until("the hour is not about to end", || redis.ask::<(u64, u64)>(&["TIME"]).0 % 3600 < 3590);
}

#[test]
fn windows_follow_each_other_on_the_clock_of_the_store() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    let mut connection = server.open();
    let mut windows = std::collections::BTreeMap::<u64, [u32; 2]>::new();
    wait::until("three whole windows are over", || {
        let reply = connection.ask("GET", "/short", &[("X-Id", "a")]);
        windows.entry(reply.number("x-ratelimit-reset")).or_default()[usize::from(reply.status == 429)] += 1;
        windows.len() > 3
    });
    // The last window has just begun.
    windows.pop_last();
    for (window, [passed, refused]) in windows {
        assert!(passed == 2 || (passed < 2 && refused == 0), "{passed} passed and {refused} were refused in {window}");
    }
}

#[test]
fn a_new_window_admits_again_after_many_refusals() {
    let redis = RedisServer::on_socket();
    let server = serve(patient().on_store_error(OnStoreError::Deny), &redis.url());
    let mut connection = server.open();
    let mut ask = || connection.ask("GET", "/two-seconds", &[("X-Id", "a")]);
    let mut windows = Vec::new();
    let mut seen = std::collections::BTreeMap::<u64, [u32; 2]>::new();
    wait::until("two whole windows are over", || {
        let now = redis.ask::<(u64, u64)>(&["TIME"]).0;
        let reply = ask();
        let (limit, remaining, reset) = reply.x_headers();
        let counts = seen.entry(reset).or_default();
        match reply.status {
            200 => counts[0] += 1,
            429 => {
                counts[1] += 1;
                assert_eq!((limit, remaining), (2, 0), "{reply:?}");
                assert!((1..=2).contains(&reply.number("retry-after")), "{reply:?}");
                assert!(now < reset, "at {now}, refused for a window that is over: {reply:?}");
            }
            _ => panic!("{reply:?}"),
        }
        if windows.last() != Some(&reset) {
            windows.push(reset);
        }
        windows.len() > 3
    });
    assert!(windows.is_sorted_by(|one, next| one + 2 == *next), "{windows:?}");
    // The first window began before the test, and the last one has just begun.
    for window in &windows[..3] {
        let [passed, refused] = seen[window];
        assert!(passed == 2 || (passed < 2 && refused == 0), "{passed} passed and {refused} were refused in {window}");
    }
    let refused: u32 = windows[1..3].iter().map(|window| seen[window][1]).sum();
    assert!(refused > 10, "{seen:?}");
}
