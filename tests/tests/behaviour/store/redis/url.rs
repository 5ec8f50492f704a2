//! The URL of a Redis: the accepted forms, the errors of the others, and no password in any text.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use proptest::prelude::*;
use proptest::sample::select;
use ratelimit_runtime::{Error, OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::PATIENCE;

#[ratelimit(limit = 100, per = FOREVER)]
async fn by_ip() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/ip", web::get().to(by_ip));
}

/// Asserts that the URL leads to a Redis that accepts this application.
fn assert_leads_to_redis(url: &str) {
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny).store(url).build();
    let limiter = limiter.unwrap_or_else(|error| panic!("{url:?}: {error}"));
    assert_eq!(Served::limited_by(&limiter, 1, routes).get("/ip").status, 200, "{url:?}");
}

/// What cannot stand in a URL as it is.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

const PASSWORD: &str = "a+b c%41:@/#?&=,[é]";

#[test]
fn a_password_may_have_any_character() {
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["ACL", "SETUSER", "me@home", "on", &format!(">{PASSWORD}"), "~*", "+@all"]);
    redis.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    let (user, password) = (escaped("me@home"), escaped(PASSWORD));
    assert_leads_to_redis(&format!("redis://{user}:{password}@{}/", redis.address()));
    let socket = redis.ask::<Vec<String>>(&["CONFIG", "GET", "unixsocket"]).remove(1);
    assert_leads_to_redis(&format!("redis+unix://{socket}?user={user}&pass={password}"));
    // Unescaped, if it has one meaning only.
    redis.ask::<()>(&["ACL", "SETUSER", "me@home", "resetpass", ">a+b:@=$"]);
    assert_leads_to_redis(&format!("redis://me%40home:a+b:@=$@{}/", redis.address()));
    assert_leads_to_redis(&format!("redis+unix://{socket}?user=me@home&pass=a+b:@=$"));
}

#[test]
fn a_password_alone_is_that_of_the_default_user() {
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    assert_leads_to_redis(&format!("redis://:secret@{}/", redis.address()));
    assert_leads_to_redis(&format!("redis://default:secret@{}/", redis.address()));
}

#[test]
fn a_user_without_a_password_of_its_own_logs_in_with_an_empty_one() {
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all"]);
    redis.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    assert_leads_to_redis(&format!("redis://app:@{}/", redis.address()));
}

#[test]
fn a_login_that_a_template_left_empty_is_none() {
    let redis = RedisServer::on_port();
    for login in ["@", ":@"] {
        assert_leads_to_redis(&format!("redis://{login}{}/", redis.address()));
    }
}

#[test]
fn capitals_and_white_space_around_a_url_are_no_mistake() {
    let redis = RedisServer::on_port();
    assert_leads_to_redis(&format!("\n\t REDIS://{}/ \r\n", redis.address()));
    for url in [
        "Memory://\n",
        "Redis://127.0.0.1",
        "VALKEY://127.0.0.1",
        "Unix:///run/redis.sock",
        "REDIS+UNIX:///run/redis.sock",
        "Valkey+Unix:///run/redis.sock",
        "Redis+Cluster://127.0.0.1",
        "VALKEY+CLUSTER://127.0.0.1",
        "Redis+Sentinel://127.0.0.1/main",
        "valkey+SENTINEL://127.0.0.1/main",
    ] {
        RateLimiter::open(&format!(" {url}\n")).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[cfg(feature = "rustls")]
#[test]
fn every_documented_form_of_a_url_over_tls_is_taken() {
    for url in [
        "rediss://127.0.0.1",
        "RedisS://redis.example.com:6380/3",
        "valkeys://127.0.0.1",
        "rediss+cluster://127.0.0.1",
        "Valkeys+Cluster://127.0.0.1",
        "rediss+sentinel://127.0.0.1/main",
        "VALKEYS+sentinel://127.0.0.1/main",
        "rediss+sentinel://127.0.0.1/main?sentinel_tls=false",
        "redis+sentinel://127.0.0.1/main?sentinel_tls=true",
    ] {
        RateLimiter::open(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[test]
fn an_error_in_a_url_names_the_part_and_what_to_write() {
    for (url, part, told) in [
        ("redis://user:77/secret@127.0.0.1", "login", "%2F"),
        ("redis://user:77?secret@127.0.0.1", "login", "%3F"),
        ("redis+cluster://user:77/secret@127.0.0.1", "login", "%2F"),
        ("redis+sentinel://user:77/secret@127.0.0.1/main", "login", "%2F"),
        ("redis+sentinel://user:77?secret@127.0.0.1/main", "login", "%3F"),
        ("redis://user:77#secret@127.0.0.1", "fragment", "%23"),
        ("redis://127.0.0.1/#insecure", "fragment", "none"),
        ("redis+unix:///run/redis.sock#secret", "fragment", "none"),
        ("redis+cluster://127.0.0.1#secret", "fragment", "none"),
        ("redis://user:50%secret@127.0.0.1", "login", "%25"),
        ("redis://user:50%e@127.0.0.1", "login", "%25"),
        ("redis://user:%ff@127.0.0.1", "login", "UTF-8"),
        ("redis://secret@127.0.0.1", "login", ":password@"),
        ("redis+unix:///run/redis.sock?user=secret", "login", "password"),
        ("redis+sentinel://127.0.0.1/main?sentinel_user=secret", "login", "password"),
        ("redis+unix://user:secret@/run/redis.sock", "login", "?user="),
        ("redis+cluster://127.0.0.1,user:secret@127.0.0.2", "login", "once"),
        ("redis+unix:///run/redis.sock?pass=ab&secret", "query", "%26"),
        ("redis+unix:///run/redis.sock?pass=ab&pass=secret", "query", "twice"),
        ("redis+unix:///run/redis.sock?pass=%secret", "query", "%25"),
        ("redis+unix:///run/redis.sock?db=secret", "database", "number"),
        ("redis+unix:///run/%00secret", "path", "control"),
        ("redis+sentinel://127.0.0.1/main?sentinel_password=ab&secret", "query", "%26"),
        ("redis+sentinel://127.0.0.1/main?sentinel_tls=secret", "query", "`true`"),
        ("redis+sentinel://127.0.0.1/%0asecret", "service name", "control"),
        ("redis://user:secret", "port", "`@`"),
        ("redis://127.0.0.1:0", "port", "65535"),
        ("redis://127.0.0.1:/0", "port", "65535"),
        ("redis://[::1]:", "port", "65535"),
        ("redis://127.0.0.1:+80", "port", "65535"),
        ("redis://[::1]6379", "port", "`:`"),
        ("redis://::1:6379", "host", "[::1]"),
        ("redis://[secret]", "host", "IPv6"),
        ("redis://sec!ret", "host", "host:port"),
        ("redis://0.0.0.0", "host", "127.0.0.1"),
        ("redis://[::]", "host", "127.0.0.1"),
        ("redis://127.0.0.1,127.0.0.2", "host", "redis+cluster://"),
        ("redis://127.0.0.1/+1", "database", "number"),
        ("redis://user:sec ret@127.0.0.1", "syntax", "%20"),
        ("redis://user:sec\nret@127.0.0.1", "syntax", "control"),
        ("user:secret@127.0.0.1", "scheme", "redis://"),
        ("secret://user@127.0.0.1", "scheme", "redis://"),
    ] {
        let error = RateLimiter::open(url).expect_err(url);
        let Error::Url { part: named, .. } = &error else { panic!("{url}: {error}") };
        assert_eq!(*named, part, "{url}: {error}");
        let error = error.to_string();
        assert!(error.contains(told), "{url}: {error}");
        assert!(!error.contains("secret") && !error.contains("insecure"), "{url}: {error}");
    }
}

/// Places that may hold a password by accident.
const FORMS: [&str; 20] = [
    "SCHEME://user:PASSWORD@host:port/0",
    "SCHEME://user:PASSWORD@",
    "SCHEME://user:PASSWORD@host:99999/service",
    "SCHEME://user:PASSWORD@host/service?option",
    "SCHEME://:PASSWORD@host,",
    "SCHEME://PASSWORD@host",
    "SCHEME://PASSWORD:user@host/service/first",
    "SCHEME://user:PASSWORD",
    "SCHEME://user:77/PASSWORD@host",
    "SCHEME://user:77?PASSWORD@host",
    "SCHEME://user:PASSWORD%zz@host",
    "SCHEME://host,user:PASSWORD@host/service",
    "SCHEME:///path?pass=PASSWORD",
    "SCHEME:///path?db=x&pass=PASSWORD",
    "SCHEME:///path?passwort=PASSWORD",
    "SCHEME:///path?PASSWORD",
    "SCHEME://host/service?sentinel_password=PASSWORD",
    "SCHEME://host/0#PASSWORD",
    "SCHEME:user:PASSWORD@host",
    "user:PASSWORD@host",
];

const SCHEMES: [&str; 14] = [
    "memory",
    "redis",
    "rediss",
    "REDIS",
    "valkey",
    "unix",
    "redis+unix",
    "redis+cluster",
    "rediss+cluster",
    "valkey+cluster",
    "redis+sentinel",
    "valkeys+sentinel",
    "redis+clusters",
    "http",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_message_repeats_a_piece_of_a_password(
        form in select(&FORMS[..]),
        scheme in select(&SCHEMES[..]),
        // The first characters are in no word of a message.
        password in "[QXZqxz]{0,3}[QXZqxz0-9@/#?:%&=+,.;!$ \\[\\]-]{6,24}",
        is_escaped in any::<bool>(),
    ) {
        let written = if is_escaped { escaped(&password) } else { password.clone() };
        let url = form.replace("SCHEME", scheme).replace("PASSWORD", &written);
        let said = match RateLimiter::open(&url) {
            // The text after the scheme is an address here, but may as well be a password.
            Ok(_) if form == "SCHEME://user:PASSWORD" => String::new(),
            Ok(limiter) => format!("{limiter:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        for secret in [&password, &written] {
            let letters: Vec<char> = secret.chars().collect();
            for piece in letters.windows(5).map(|piece| piece.iter().collect::<String>()) {
                prop_assert!(!said.contains(&piece), "{url}: {said}");
            }
        }
    }
}
