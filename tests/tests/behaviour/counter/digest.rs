//! `hash_keys`: the names of counters in Redis contain nothing that a client has sent.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::scope_function;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{PATIENCE, until};

/// A handler at the path of its name for each of these rules, all with a limit of 2 for the key of its path.
macro_rules! handlers {
    ($($name:ident($($arguments:tt)*);)*) => {
        $(
            #[ratelimit(limit = 2, per = FOREVER, $($arguments)*)]
            async fn $name() -> impl Responder {
                HttpResponse::Ok()
            }
        )*

        fn routes(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
        }
    };
}

handlers! {
    ip(key = "ip");
    user(key = "user", scope = "user");
    header(key = "header", scope = "header:X-Api-Key");
    function(key = "function", scope = tenant);
    joined(key = "joined", scope = ["ip", "header:X-Api-Key", tenant]);
    global(key = "global", scope = "global");
    key(key = tenant, scope = "global");
    staggered(key = "staggered", scope = "user", stagger = true);
}

fn tenant(request: &HttpRequest) -> Option<String> {
    Some(request.headers().get("x-tenant")?.to_str().ok()?.to_owned())
}

const API_KEY: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const HEADERS: [(&str, &str); 3] = [("X-User", "alice"), ("X-Api-Key", API_KEY), ("X-Tenant", "acme GmbH")];

/// The values that must not be in a name.
const VALUES: [&str; 5] = ["alice", API_KEY, "acme", "GmbH", "127.0.0.1"];

/// For each path the counter of a request with [`HEADERS`].
fn counters() -> Vec<(&'static str, Target)> {
    let target = |key| Target::new(key, 2, FOREVER);
    let here = [127, 0, 0, 1].into();
    vec![
        ("/ip", target("ip").ip(here)),
        ("/user", target("user").user("alice")),
        ("/header", target("header").header("x-api-key", API_KEY)),
        ("/function", target("function").function(scope_function!(tenant), "acme GmbH")),
        (
            "/joined",
            target("joined").ip(here).header("x-api-key", API_KEY).function(scope_function!(tenant), "acme GmbH"),
        ),
        ("/global", target("global").global()),
        ("/key", Target::given("acme GmbH", 2, FOREVER).global()),
        ("/staggered", target("staggered").user("alice").stagger()),
    ]
}

fn builder() -> RateLimiterBuilder {
    let user = |request: &HttpRequest| Some(request.headers().get("x-user")?.to_str().ok()?.to_owned());
    RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny).user(user)
}

/// A limiter, and its application.
fn serve(builder: RateLimiterBuilder, url: &str) -> (RateLimiter, Served) {
    let limiter = builder.store(url).build().expect("a URL");
    let server = Served::limited(&limiter, routes);
    (limiter, server)
}

fn remaining(limiter: &RateLimiter, target: &Target) -> u32 {
    actix_web::rt::System::new().block_on(target.peek(limiter)).expect("a store").remaining()
}

fn reset(limiter: &RateLimiter, target: &Target) {
    actix_web::rt::System::new().block_on(target.reset(limiter)).expect("a store");
}

/// Counts under each rule, and resets all counters except those that the caller inspects.
fn every_counter_works(limiter: &RateLimiter, server: &Served) {
    for (path, target) in counters() {
        for left in [1, 0] {
            assert_eq!(server.get_with(path, &HEADERS).status, 200, "{path}");
            assert_eq!(remaining(limiter, &target), left, "{path}");
        }
        assert_eq!(server.get_with(path, &HEADERS).status, 429, "{path}");
        reset(limiter, &target);
        assert_eq!(remaining(limiter, &target), 2, "{path}");
        until("a request passes after the reset", || server.get_with(path, &HEADERS).status == 200);
    }
}

#[test]
fn no_name_contains_what_a_client_says() {
    let redis = RedisServer::on_socket();
    let (limiter, server) = serve(builder().hash_keys(true), &redis.url());
    every_counter_works(&limiter, &server);
    let keys = redis.keys();
    assert!(keys.len() >= counters().len(), "{keys:?}");
    for value in VALUES {
        assert!(!keys.iter().any(|key| key.contains(value)), "{value} in {keys:?}");
    }
}

#[test]
fn in_a_cluster_no_name_does_either() {
    let cluster = RedisCluster::steady();
    let (limiter, server) = serve(builder().hash_keys(true), &cluster.url());
    every_counter_works(&limiter, &server);
    let keys: Vec<String> = (0..6).flat_map(|node| cluster.node(node).keys()).collect();
    assert!(keys.len() >= counters().len(), "{keys:?}");
    for value in VALUES {
        assert!(!keys.iter().any(|key| key.contains(value)), "{value} in {keys:?}");
    }
}

#[test]
fn unless_set_names_contain_values() {
    let redis = RedisServer::on_socket();
    let (limiter, server) = serve(builder().hash_keys(true).hash_keys(false), &redis.url());
    every_counter_works(&limiter, &server);
    assert!(redis.keys().iter().any(|key| key.contains(API_KEY)));
}

/// Digests must be the same in every release. Otherwise a deployment would start all counters from zero. Another program
/// made these.
#[test]
fn a_digest_is_an_hmac_with_a_key_made_of_prefix_and_secret() {
    let redis = RedisServer::on_socket();
    for (builder, digest) in [
        (builder().hash_keys(true), "!024FC96DEEC2936ADB7BB00205C9A2D8"),
        (builder().hash_secret("s3cret"), "!E3373E2917CD3029C424A4483F3B4091"),
    ] {
        let (_, server) = serve(builder, &redis.url());
        assert_eq!(server.get_with("/user", &HEADERS).status, 200);
        let name = format!("rate-limit/user/{FOREVER}/user:{digest}/");
        assert!(redis.keys().iter().any(|key| key.starts_with(&name)), "{name}: {:?}", redis.keys());
    }
}

#[test]
fn limiters_share_counters_if_they_have_the_same_secret() {
    let redis = RedisServer::on_socket();
    let limiters = || {
        [builder(), builder().hash_keys(true), builder().hash_secret("one"), builder().hash_secret("another")]
            .map(|builder| builder.store(redis.url()).build().expect("a URL"))
    };
    let (target, one) = (Target::new("user", 2, FOREVER).user("alice"), limiters());
    for limiter in &one {
        let server = Served::limited(limiter, routes);
        assert_eq!(server.get_with("/user", &HEADERS).status, 200);
    }
    for limiter in one.iter().chain(&limiters()) {
        assert_eq!(remaining(limiter, &target), 1);
    }
}

#[test]
fn the_secret_is_not_told() {
    let told = format!("{:?}", builder().hash_secret("hunter2"));
    assert!(told.contains("has_secret: true") && !told.contains("hunter2"), "{told}");
    assert!(!told.contains(&format!("{:?}", b"hunter2")), "{told}");
}
