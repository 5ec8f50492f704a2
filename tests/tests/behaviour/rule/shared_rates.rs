//! Rules of GCRA with one key and different rates: a token taken under one rule is taken under all, and each keeps its own
//! limit.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
#[cfg(feature = "redis")]
use proptest::{collection::vec, prelude::*};
use ratelimit_runtime::ratelimit;
#[cfg(feature = "redis")]
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, RuleState};
use ratelimit_tests::app::Served;
#[cfg(feature = "redis")]
use ratelimit_tests::http::Connection;
use ratelimit_tests::http::Server;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::store::each_store::{Shared, wanted};

/// So long that no token comes back while a test runs.
const PER: u32 = 5_000_000;

#[ratelimit(limit = 5, per = PER, scope = "header:x-id", key = "shared", algorithm = "gcra")]
async fn five() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = PER, scope = "header:x-id", key = "shared", algorithm = "gcra")]
async fn hundred() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 10, per = PER, scope = "header:x-id", key = "shared", algorithm = "gcra", burst = 4)]
async fn small_burst() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 10, per = PER, scope = "header:x-id", key = "shared", algorithm = "gcra", burst = 12, cost = 3)]
async fn large_burst() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = PER, scope = "header:x-id", key = "shared", algorithm = "gcra", cost = 2, count_if = counts)]
async fn given_back(request: HttpRequest) -> HttpResponse {
    wanted(&request)
}

fn counts(response: &HttpResponse) -> bool {
    response.status() != 404
}

fn routes(config: &mut ServiceConfig) {
    config.route("/five", web::get().to(five)).route("/hundred", web::get().to(hundred));
    config.route("/small-burst", web::get().to(small_burst)).route("/large-burst", web::get().to(large_burst));
    config.route("/given-back", web::get().to(given_back));
}

fn with_each_store(test: impl Fn(&Shared)) {
    test(&Shared::in_memory(routes));
    #[cfg(feature = "redis")]
    test(&Shared::in_redis(&RedisServer::on_socket(), routes));
    #[cfg(feature = "redis")]
    test(&Shared::in_cluster(&RedisCluster::steady(), routes));
}

fn remaining(server: &Served, path: &str, id: &str) -> (u16, u64) {
    let reply = server.get_with(path, &[("X-Id", id)]);
    (reply.status, reply.x_headers().1)
}

#[test]
fn a_changed_rate_goes_on_from_what_was_used() {
    with_each_store(|store| {
        let (here, there, name) = (&store.here, &store.there, store.name);
        for left in (0..5).rev() {
            assert_eq!(remaining(here, "/five", "up"), (200, left), "{name}");
        }
        assert_eq!(remaining(here, "/five", "up"), (429, 0), "{name}");
        assert_eq!(remaining(there, "/hundred", "up"), (200, 94), "{name}: from 5 to 100");
        for left in (50..100).rev() {
            assert_eq!(remaining(here, "/hundred", "down"), (200, left), "{name}");
        }
        assert_eq!(remaining(there, "/five", "down"), (429, 0), "{name}: from 100 to 5");
        assert_eq!(remaining(there, "/small-burst", "down"), (429, 0), "{name}: to another burst");
        assert_eq!(remaining(there, "/hundred", "down"), (200, 49), "{name}");
    });
}

#[test]
fn no_rule_gets_more_because_another_has_a_faster_rate() {
    with_each_store(|store| {
        let passed = |path| usize::from(store.here.get_with(path, &[("X-Id", "a")]).status == 200);
        let mut admitted = 0;
        for _ in 0..20 {
            admitted += passed("/five");
            passed("/hundred");
            admitted += passed("/five");
        }
        assert!(admitted <= 5, "{}: {admitted}", store.name);
        assert_eq!(remaining(&store.there, "/hundred", "a").1, 100 - 20 - admitted as u64 - 1, "{}", store.name);
    });
}

#[test]
fn a_reset_and_a_refund_reach_all_rates() {
    with_each_store(|store| {
        let name = store.name;
        let of = |limit, burst| Target::new("shared", limit, PER).gcra(burst).header("x-id", "b");
        let left =
            || [(5, 5), (100, 100), (10, 4), (77, 33)].map(|(limit, burst)| store.peek(&of(limit, burst)).remaining());
        let give_back = |expected: [u32; 4]| {
            let headers = [("X-Id", "b"), ("X-Status", "404")];
            assert_eq!(store.here.get_with("/given-back", &headers).status, 404, "{name}");
            wait::until("it is given back", || left() == expected);
        };
        assert_eq!(remaining(&store.here, "/five", "b"), (200, 4), "{name}");
        assert_eq!(remaining(&store.here, "/hundred", "b"), (200, 98), "{name}");
        assert_eq!(left(), [3, 98, 2, 31], "{name}");
        give_back([3, 98, 2, 31]);
        for _ in 0..3 {
            assert_eq!(store.here.get_with("/five", &[("X-Id", "b")]).status, 200, "{name}");
        }
        assert_eq!(left(), [0, 95, 0, 28], "{name}");
        // The first rule had too few tokens for that, so it gets no refund.
        give_back([0, 95, 0, 28]);
        store.reset(&of(77, 33));
        assert_eq!(left(), [5, 100, 4, 33], "{name}");
    });
}

#[cfg(feature = "redis")]
/// A limiter without a fallback, with one worker and one client. So the next request sees a refund.
struct Alone {
    limiter: RateLimiter,
    _server: Served,
    client: Connection,
    runtime: actix_web::rt::Runtime,
}

#[cfg(feature = "redis")]
impl Alone {
    fn new(limiter: RateLimiter) -> Self {
        let server = Served::limited_by(&limiter, 1, routes);
        let client = server.open();
        Self { limiter, client, _server: server, runtime: actix_web::rt::Runtime::new().expect("a runtime") }
    }

    fn peek(&self, target: &Target) -> RuleState {
        self.runtime.block_on(target.peek(&self.limiter)).expect("a store")
    }
}

#[cfg(feature = "redis")]
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(wait::PATIENCE).on_store_error(OnStoreError::Deny)
}

#[cfg(feature = "redis")]
#[test]
fn all_stores_agree_on_shared_counters() {
    const PATHS: [&str; 5] = ["/five", "/hundred", "/small-burst", "/large-burst", "/given-back"];
    const RATES: [(u32, u32); 4] = [(5, 5), (100, 100), (10, 4), (10, 12)];
    let (redis, cluster) = (RedisServer::on_socket(), RedisCluster::steady());
    let limiters = [
        patient().build().expect("a limiter in memory"),
        patient().store(redis.url()).build().expect("a URL"),
        patient().store(cluster.url()).build().expect("a URL"),
    ];
    let stores = std::cell::RefCell::new(limiters.map(Alone::new));
    let case = std::cell::Cell::new(0);
    let config = ProptestConfig { failure_persistence: None, cases: 30, ..ProptestConfig::default() };
    proptest!(config, |(steps in vec((0..6_usize, 0..4_usize, any::<bool>()), 1..40))| {
        case.set(case.get() + 1);
        let id = case.get().to_string();
        for (index, (step, rate, is_given_back)) in steps.iter().enumerate() {
            let (limit, burst) = RATES[*rate];
            let target = Target::new("shared", limit, PER).gcra(burst).header("x-id", &id);
            let told = stores.borrow_mut().each_mut().map(|store| match PATHS.get(*step) {
                Some(path) => {
                    let status = if *is_given_back { "404" } else { "200" };
                    let reply = store.client.ask("GET", path, &[("X-Id", &id), ("X-Status", status)]);
                    let (limit, remaining, _) = reply.x_headers();
                    // A worker refuses from its cache for a second.
                    (reply.status, limit, if reply.status == 429 { 0 } else { remaining })
                }
                None => {
                    let peek = store.peek(&target);
                    (0, peek.limit().into(), peek.remaining().into())
                }
            });
            prop_assert_eq!(told, [told[0]; 3], "step {} of {:?}", index, steps);
            if PATHS.get(*step) == Some(&"/given-back") && *is_given_back {
                let target = Target::new("shared", 100, PER).gcra(100).header("x-id", &id);
                wait::until("all stores have what was given back", || {
                    let left = stores.borrow().each_ref().map(|store| store.peek(&target).remaining());
                    left == [left[0]; 3]
                });
            }
        }
    });
}
