//! The keys in Redis: what they say, how they are escaped, and when they expire.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::PATIENCE;

#[ratelimit(limit = 100, per = FOREVER)]
async fn by_ip() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id")]
async fn twice() -> impl Responder {
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

#[ratelimit(limit = 100, per = 3600, scope = "global")]
#[ratelimit(limit = 100, per = 7200, scope = "global")]
async fn two_rules() -> impl Responder {
    HttpResponse::Ok()
}

fn tenant(request: &HttpRequest) -> String {
    request.query_string().to_owned()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/ip", web::get().to(by_ip)).route("/key", web::get().to(with_a_key));
    config.route("/joined", web::get().to(joined)).route("/two-rules", web::get().to(two_rules));
    config.route("/twice", web::get().to(twice));
}

/// A limiter with a long deadline, because these tests are not about deadlines.
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
