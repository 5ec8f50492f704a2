//! The Redis store: what it writes, and whose clock it goes by.

use std::time::{Duration, Instant, SystemTime};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{ManualClock, OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Reply, Server, request};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};

#[ratelimit(limit = 100, per = FOREVER)]
async fn by_ip() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = FOREVER, scope = "global", key = "a/b c")]
async fn with_a_key() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = FOREVER, scope = ["header:x-id", tenant, "user"])]
async fn joined() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 1, scope = "header:x-id")]
async fn short() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = 3600, scope = "global")]
#[ratelimit(limit = 100, per = 7200, scope = "global")]
async fn two_rules() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = 3600, scope = "global")]
async fn hourly() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id")]
async fn twice() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 2, scope = "header:x-id")]
async fn twice_in_two_seconds() -> impl Responder {
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

fn tenant(request: &HttpRequest) -> String {
    request.query_string().to_owned()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/ip", web::get().to(by_ip)).route("/key", web::get().to(with_a_key));
    config.route("/joined", web::get().to(joined)).route("/short", web::get().to(short));
    config.route("/hourly", web::get().to(hourly)).route("/two-rules", web::get().to(two_rules));
    config.route("/twice", web::get().to(twice)).route("/two-seconds", web::get().to(twice_in_two_seconds));
    config.route("/one-rule", web::get().to(one_rule)).route("/two-long-rules", web::get().to(two_long_rules));
    config.route("/exempt", web::get().to(exempt)).route("/free", web::get().to(free_of_charge));
}

/// A limiter that waits as long as it takes: these tests are not about deadlines.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE).user(|_: &HttpRequest| Some("alice@example.com"))
}

fn serve(limiter: RateLimiterBuilder, url: &str) -> Served {
    Served::limited(&limiter.store(url).build().expect("a URL"), routes)
}

/// The parts of the only key: prefix, key, rule, scope, window.
fn only_key(redis: &RedisServer) -> Vec<String> {
    let keys = redis.keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].split('/').map(str::to_owned).collect()
}

#[test]
fn a_key_says_what_it_counts() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    server.get("/ip");
    let parts = only_key(&redis);
    assert_eq!(parts.len(), 5, "{parts:?}");
    assert_eq!(parts[0], "rate-limit");
    assert_eq!(parts[1], concat!(module_path!(), "::by_ip"));
    assert_eq!(parts[3], "ip:127.0.0.1");
    assert_eq!(parts[4].parse::<u64>().expect("a time") % u64::from(FOREVER), 0);
}

#[test]
fn what_is_written_into_a_key_is_escaped() {
    let redis = RedisServer::on_socket();
    let server = serve(patient().prefix("shop"), &redis.url());
    server.get("/key");
    let parts = only_key(&redis);
    assert_eq!((parts[0].as_str(), parts[1].as_str(), parts[3].as_str()), ("shop", "a%2Fb%20c", "global"));
}

#[test]
fn what_a_client_writes_is_escaped_and_bounded() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    server.get_with("/joined?a/b+c", &[("X-Id", "1/2+3")]);
    let scope = only_key(&redis).remove(3);
    let parts: Vec<_> = scope.split('+').collect();
    assert_eq!((parts.len(), parts[0], parts[2]), (3, "header:x-id:1%2F2%2B3", "user:alice%40example.com"), "{scope}");
    assert!(parts[1].starts_with("fn:") && parts[1].ends_with("tenant=a%2Fb%2Bc"), "{scope}");
    server.get_with(&format!("/joined?{}", "a".repeat(9000)), &[("X-Id", &"\u{e4}".repeat(9000))]);
    let longest = redis.keys().iter().map(String::len).max().unwrap_or_default();
    assert!(longest < 600, "a key of {longest} bytes");
}

#[test]
fn a_key_says_in_place_of_what_an_address_stands() {
    let redis = RedisServer::on_socket();
    let server = serve(patient().user(|_: &HttpRequest| None::<String>), &redis.url());
    server.get("/joined");
    let scope = only_key(&redis).remove(3);
    let parts: Vec<_> = scope.split('+').collect();
    assert_eq!((parts.len(), parts[0], parts[2]), (3, "header-ip:x-id:127.0.0.1", "user-ip:127.0.0.1"), "{scope}");
    assert!(parts[1].starts_with("fn:") && parts[1].ends_with("tenant=ip=127.0.0.1"), "{scope}");
}

#[test]
fn of_a_value_with_more_than_64_bytes_its_sha_256_stands_in_the_key() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    let value = |bytes: usize| {
        server.get_with("/twice", &[("X-Id", &"a".repeat(bytes))]);
        let key = only_key(&redis).remove(3);
        redis.ask::<()>(&["FLUSHALL"]);
        key
    };
    assert_eq!(value(64), format!("header:x-id:{}", "a".repeat(64)));
    let digest = "635361C48BB9EAB14198E76EA8AB7F1A41685D6AD62AA9146D301D4F17EB0AE0";
    assert_eq!(value(65), format!("header:x-id:!{digest}"));
}

#[test]
fn every_key_expires_when_its_window_ends() {
    let redis = RedisServer::on_socket();
    let server = serve(patient(), &redis.url());
    for path in ["/ip", "/two-rules", "/two-rules", "/key"] {
        assert_eq!(server.get(path).status, 200);
    }
    let keys = redis.keys();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let end: i64 = key.rsplit('/').next().and_then(|end| end.parse().ok()).expect("a time");
        let left: i64 = redis.ask(&["TTL", &key]);
        let now = redis.ask::<(i64, i64)>(&["TIME"]).0;
        assert!((-1..=1).contains(&(now + left - end)), "{key} leaves {} s after its window", now + left - end);
    }
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

/// Within the last seconds of an hour, this test would see it end.
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

/// Asks for each client at once, so that what Redis is asked for them goes together.
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
            let limiter = patient().on_store_error(OnStoreError::Deny).store(&redis.url()).build().expect("a URL");
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
    let limiter = patient().on_store_error(OnStoreError::Deny).store(&redis.url()).build().expect("a URL");
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
    // One worker, which would have given the first back before it asks for the next.
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
    // On one connection all requests are of one worker.
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
    // A second is what may be lost in rounding.
    let left = reset.saturating_sub(after + 1)..=reset.saturating_sub(before).max(1);
    assert!(left.contains(&retry_after), "between {before} and {after}: {reply:?}");
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
    // The first had begun before the test, and the last has just begun.
    for window in &windows[..3] {
        let [passed, refused] = seen[window];
        assert!(passed == 2 || (passed < 2 && refused == 0), "{passed} passed and {refused} were refused in {window}");
    }
    let refused: u32 = windows[1..3].iter().map(|window| seen[window][1]).sum();
    assert!(refused > 10, "{seen:?}");
}
