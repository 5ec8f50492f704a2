//! `RateLimiter::peek` and `reset`: each kind of counter that an attribute can make is found by its name.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, TrustedProxies, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::scope_function;
use ratelimit_tests::target::Target;

use crate::store::each_store::Shared;

#[ratelimit(limit = 9, per = FOREVER, key = "a key")]
async fn by_ip() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = "user")]
async fn by_user() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = "global")]
async fn global() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = "header:X-Api-Key")]
async fn by_header() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = tenant)]
async fn by_tenant() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = shop)]
async fn by_shop() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = ["ip", tenant, "header:X-Api-Key", "user"])]
async fn joined() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = tenant)]
async fn with_a_key_function() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER)]
async fn with_its_own_key() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = FOREVER, key = "a key of two", cost = 2)]
#[ratelimit(limit = 9, per = FOREVER, key = "a key of two")]
async fn behind_another() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = FOREVER, key = "a key", scope = "global", stagger = true)]
async fn staggered() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 9, per = 3600, key = "a key", scope = "global", algorithm = "gcra", burst = 9)]
async fn gcra() -> impl Responder {
    HttpResponse::Ok()
}

fn tenant(request: &HttpRequest) -> String {
    request.query_string().to_owned()
}

async fn shop(query: web::Query<Vec<(String, String)>>) -> String {
    query.first().map(|(name, _)| name.clone()).unwrap_or_default()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/ip", web::get().to(by_ip)).route("/user", web::get().to(by_user));
    config.route("/global", web::get().to(global)).route("/header", web::get().to(by_header));
    config.route("/tenant", web::get().to(by_tenant)).route("/shop", web::get().to(by_shop));
    config.route("/joined", web::get().to(joined)).route("/key", web::get().to(with_a_key_function));
    config.route("/own", web::get().to(with_its_own_key)).route("/behind", web::get().to(behind_another));
    config.route("/staggered", web::get().to(staggered)).route("/gcra", web::get().to(gcra));
}

/// For each path: its counters, and similar counters that it does not have.
fn targets() -> Vec<(&'static str, Target, Vec<Target>)> {
    let localhost = [127, 0, 0, 1].into();
    let target = || Target::new("a key", 9, FOREVER);
    let long = "x".repeat(300);
    vec![
        ("/ip", target().ip(localhost), vec![target().ip([127, 0, 0, 2].into()), target().user("127.0.0.1")]),
        ("/user", target().user("al ice"), vec![target().user("al%20ice"), target().header("x-user", "al ice")]),
        ("/global", target().global(), vec![Target::new("another", 9, FOREVER).global(), target().user("global")]),
        // A target without a subject counts everybody.
        ("/global", target(), vec![target().global().stagger()]),
        // As a header arrives: without the white space around its value.
        ("/header", target().header("X-Api-Key", " 1/2\t"), vec![]),
        ("/header", target().header("X-Api-Key", "1/2"), vec![target().header("x-api-key", "1%2F2")]),
        (
            "/tenant?acme",
            target().function(scope_function!(tenant), "acme"),
            vec![target().function(scope_function!(shop), "acme")],
        ),
        (
            "/shop?acme=1",
            target().function(scope_function!(shop), "acme"),
            vec![target().function(scope_function!(tenant), "acme=1")],
        ),
        (
            "/joined?acme",
            target().ip(localhost).function(scope_function!(tenant), "acme").header("x-api-key", "1/2").user("al ice"),
            vec![
                target()
                    .function(scope_function!(tenant), "acme")
                    .ip(localhost)
                    .header("x-api-key", "1/2")
                    .user("al ice"),
            ],
        ),
        (
            "/key?acme",
            Target::given("acme", 9, FOREVER).ip(localhost),
            vec![Target::new("acme", 9, FOREVER).ip(localhost), Target::given("acme", 9, 1).ip(localhost)],
        ),
        (
            "/own",
            Target::new(concat!(module_path!(), "::with_its_own_key"), 9, FOREVER).ip(localhost),
            vec![Target::new("with_its_own_key", 9, FOREVER).ip(localhost)],
        ),
        ("/staggered", target().global().stagger(), vec![]),
        ("/gcra", Target::new("a key", 9, 3600).gcra(9).global(), vec![]),
        (
            Box::leak(format!("/tenant?{long}").into_boxed_str()),
            target().function(scope_function!(tenant), &long),
            vec![target().function(scope_function!(tenant), &long[1..])],
        ),
    ]
}

fn each_counter_is_found(store: &Shared) {
    let headers = [("X-User", "al ice"), ("X-Api-Key", "1/2")];
    let counters = targets();
    for (path, target, others) in &counters {
        let before: Vec<_> = others.iter().map(|other| store.peek(other).remaining()).collect();
        assert_eq!(store.peek(target).remaining(), 9, "{path}, {}", store.name);
        for used in 1..4 {
            assert_eq!(store.here.get_with(path, &headers).status, 200, "{path}, {}", store.name);
            assert_eq!(store.peek(target).remaining(), 9 - used, "{path}, {}", store.name);
        }
        let after: Vec<_> = others.iter().map(|other| store.peek(other).remaining()).collect();
        assert_eq!(before, after, "{path}, {}", store.name);
        for other in others {
            store.reset(other);
        }
        assert_eq!(store.peek(target).remaining(), 6, "{path}, {}: the reset of another", store.name);
        store.reset(target);
        store.reset(target);
        assert_eq!(store.peek(target).remaining(), 9, "{path}, {}", store.name);
        assert_eq!(store.here.get_with(path, &headers).x_headers().1, 8, "{path}, {}", store.name);
        store.reset(target);
    }
}

#[test]
fn each_kind_of_counter_is_found_by_its_name() {
    each_counter_is_found(&Shared::in_memory(routes));
    #[cfg(feature = "redis")]
    {
        let redis = RedisServer::on_socket();
        each_counter_is_found(&Shared::in_redis(&redis, routes));
        assert_eq!(redis.keys(), [""; 0], "a look, or a reset, leaves a key");
    }
}

fn each_of_two_rules_is_found(store: &Shared) {
    let target = |others| Target::new("a key of two", 9, FOREVER).ip([127, 0, 0, 1].into()).behind(others);
    let left = || [0, 1, 2].map(|others| store.peek(&target(others)).remaining());
    assert_eq!(store.here.get("/behind").status, 200);
    assert_eq!(left(), [7, 8, 9], "{}", store.name);
    store.reset(&target(0));
    assert_eq!(left(), [9, 8, 9], "{}", store.name);
    store.reset(&target(1));
    assert_eq!(left(), [9, 9, 9], "{}", store.name);
}

#[test]
fn of_rules_that_are_alike_each_is_found_by_how_many_stand_before_it() {
    each_of_two_rules_is_found(&Shared::in_memory(routes));
    #[cfg(feature = "redis")]
    each_of_two_rules_is_found(&Shared::in_redis(&RedisServer::on_socket(), routes));
}

#[test]
fn an_address_stands_for_its_network() {
    let proxies = || TrustedProxies::networks(["127.0.0.1"]).expect("an address");
    for (bits, same) in [(64, true), (128, false)] {
        let limiter =
            RateLimiter::builder().trusted_proxies(proxies()).ipv6_prefix(bits).build().expect("a limiter in memory");
        let server = Served::limited(&limiter, routes);
        let used = |address: &str| {
            let target = Target::new("a key", 9, FOREVER).ip(address.parse().expect("an address"));
            let peek = actix_web::rt::System::new().block_on(target.peek(&limiter)).expect("a store");
            9 - peek.remaining()
        };
        server.get_with("/ip", &[("X-Forwarded-For", "2001:db8::1")]);
        server.get_with("/ip", &[("X-Forwarded-For", "192.0.2.60")]);
        assert_eq!((used("2001:db8::1"), used("2001:db8::ffff:2") == 1), (1, same));
        assert_eq!((used("2001:db8:0:1::1"), used("192.0.2.61")), (0, 0));
        assert_eq!((used("192.0.2.60"), used("::ffff:192.0.2.60")), (1, 1));
    }
}

#[test]
fn an_address_that_stands_in_stands_for_its_network_too() {
    let proxies = TrustedProxies::networks(["127.0.0.1"]).expect("an address");
    let nobody = |_: &HttpRequest| None::<String>;
    let limiter = RateLimiter::builder().trusted_proxies(proxies).user(nobody).build().expect("a limiter in memory");
    let server = Served::limited(&limiter, routes);
    let target = || Target::new("a key", 9, FOREVER);
    let neighbour = "2001:db8::ffff:2".parse().expect("an address");
    for (path, target) in [
        ("/user", target().without_user(neighbour)),
        ("/header", target().without_header("x-api-key", neighbour)),
        ("/tenant", target().without_value(scope_function!(tenant), neighbour)),
        ("/key", Target::without_key(neighbour, 9, FOREVER).ip(neighbour)),
    ] {
        assert_eq!(server.get_with(path, &[("X-Forwarded-For", "2001:db8::1")]).status, 200, "{path}");
        let peek = actix_web::rt::System::new().block_on(target.peek(&limiter)).expect("a store");
        assert_eq!(peek.remaining(), 8, "{path}");
    }
}
