//! Leases: each token is spent once, for the request that it was taken for, and no longer than the count lives.

use std::thread::sleep;
use std::time::{Duration, Instant};

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};

use crate::store::each_store::Shared;

const LIMIT: u32 = 300;

#[ratelimit(limit = LIMIT, per = FOREVER, scope = "global", key = "all", lease = 30)]
async fn all() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = LIMIT, per = FOREVER, scope = "global", key = "all", cost = 7, lease = 30)]
async fn seven() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = LIMIT, per = FOREVER, scope = "global", key = "all", cost = 2)]
async fn two() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 60, per = FOREVER, scope = "global", key = "sixty", lease = 6)]
#[ratelimit(limit = 20, per = FOREVER, scope = "header:x-id", key = "twenty", lease = 2)]
async fn two_rules() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = FOREVER, scope = "global", key = "nines", cost = 3, lease = 9)]
async fn in_nines() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1000, per = FOREVER, key = "a lease", scope = "global", lease = 50)]
async fn leased() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 100, per = FOREVER, key = "a tenth", scope = "global", lease = 100)]
async fn leased_by_tenths() -> impl Responder {
    HttpResponse::Ok()
}

/// Resets the counter in the worker that has tokens of it.
async fn reset(request: HttpRequest) -> impl Responder {
    let limiter = request.app_data::<RateLimiter>().expect("a limiter");
    Target::new("all", LIMIT, FOREVER).global().reset(limiter).await.expect("Redis answers");
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/all", web::get().to(all)).route("/two-rules", web::get().to(two_rules));
    config.route("/seven", web::get().to(seven)).route("/two", web::get().to(two));
    config.route("/reset", web::get().to(reset)).route("/nines", web::get().to(in_nines));
    config.route("/leased", web::get().to(leased)).route("/tenths", web::get().to(leased_by_tenths));
}

fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny)
}

fn connect(redis: &RedisServer) -> (Served, Connection) {
    let server = Served::limited_by(&patient().store(redis.url()).build().expect("a URL"), 1, routes);
    let connection = server.open();
    (server, connection)
}

#[test]
fn requests_of_different_costs_spend_the_limit_and_not_one_token_more() {
    let redis = RedisServer::on_socket();
    let (_server, mut connection) = connect(&redis);
    let mut spent = 0;
    let mut ask = |path: &str, cost: u32| {
        spent += if connection.get(path).status == 200 { cost } else { 0 };
        spent
    };
    for (path, cost) in [("/all", 1), ("/seven", 7), ("/two", 2), ("/seven", 7)].into_iter().cycle().take(80) {
        ask(path, cost);
    }
    // Others may be refused for lack of a leased token, until it is refunded.
    wait::until("the limit is spent", || ask("/all", 1) >= LIMIT);
    assert_eq!((ask("/all", 1), ask("/two", 2), ask("/seven", 7)), (LIMIT, LIMIT, LIMIT));
}

#[test]
fn a_request_that_one_rule_refuses_spends_no_token_of_another() {
    let redis = RedisServer::on_socket();
    let (_server, mut connection) = connect(&redis);
    let mut passed = 0;
    let mut ask = |client: &str| {
        let status = connection.ask("GET", "/two-rules", &[("X-Id", client)]).status;
        passed += usize::from(status == 200);
        passed
    };
    for client in ["a", "b", "c"] {
        for _ in 0..40 {
            ask(client);
        }
    }
    // Others may be refused for lack of a leased token, until it is refunded.
    wait::until("all that may pass have passed", || ask("c") == 60 || ask("d") == 60);
    assert_eq!(["c", "d", "e"].map(ask), [60; 3]);
}

#[test]
fn tokens_of_before_a_reset_are_not_spent_after_it() {
    let redis = RedisServer::on_socket();
    let (_server, mut connection) = connect(&redis);
    assert_eq!([(); 10].map(|()| connection.get("/all").status), [200; 10]);
    assert_eq!(connection.get("/reset").status, 200);
    let mut passed = 0;
    let mut ask = || {
        passed += u32::from(connection.get("/all").status == 200);
        passed
    };
    wait::until("the limit is spent", || ask() >= LIMIT);
    assert_eq!([ask(), ask()], [LIMIT; 2]);
}

#[test]
fn a_lease_takes_nothing_if_its_request_does_not_fit() {
    let redis = RedisServer::on_socket();
    let limiter = patient().store(redis.url()).build().expect("a URL");
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let target = Target::new("nines", 100, FOREVER).global();
    let left = || runtime.block_on(target.peek(&limiter)).expect("a store").remaining();
    let server = Served::limited_by(&limiter, 1, routes);
    let mut connection = server.open();
    let mut passed = 0;
    wait::until("all that fits has passed", || {
        passed += usize::from(connection.get("/nines").status == 200);
        passed == 33 && left() == 1
    });
    // A worker that does not know the counter asks for more than is left.
    for _ in 0..4 {
        let server = Served::limited(&patient().store(redis.url()).build().expect("a URL"), routes);
        assert_eq!((server.get("/nines").x_headers().1, left()), (1, 1));
    }
}

#[test]
fn a_lease_takes_no_more_than_a_tenth_of_what_is_left() {
    let redis = RedisServer::on_socket();
    let limiter = patient().store(redis.url()).build().expect("a URL");
    let server = Served::limited_by(&limiter, 1, routes);
    let mut connection = server.open();
    let mut most = 0;
    for passed in 1..=60 {
        assert_eq!(connection.get("/tenths").status, 200);
        let counted: u64 = redis.ask(&["GET", &redis.keys()[0]]);
        most = most.max(counted - passed);
        // The next lease comes when three quarters of the last one are left, which was a tenth of more.
        let tenth = (100 - passed) / 10 + 1;
        assert!(counted - passed <= 2 * tenth, "{counted} are counted after {passed} requests");
    }
    assert!(most >= 5, "nothing was leased");
}

#[test]
fn a_lease_begins_at_the_second_request_and_peek_takes_its_tokens_for_spent() {
    let redis = RedisServer::on_socket();
    let limiter = patient().store(redis.url()).build().expect("a URL");
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let target = Target::new("a lease", 1000, FOREVER).global();
    let left = || runtime.block_on(target.peek(&limiter)).expect("a store").remaining();
    let server = Served::limited_by(&limiter, 1, routes);
    let mut connection = server.open();
    assert_eq!((connection.get("/leased").status, left()), (200, 999));
    let mut passed = 1;
    wait::until("more is leased than has passed", || {
        passed += u32::from(connection.get("/leased").status == 200);
        left() < 1000 - passed
    });
    let counted = || redis.ask::<u32>(&["GET", &redis.keys()[0]]);
    wait::until("a look sees what Redis has counted", || left() == 1000 - counted());
}

#[test]
fn a_count_that_is_deleted_reaches_a_lease_within_a_second_or_so() {
    let redis = RedisServer::on_socket();
    let server = Served::limited_by(&patient().store(redis.url()).build().expect("a URL"), 1, routes);
    let mut connection = server.open();
    for _ in 0..200 {
        assert_eq!(connection.get("/leased").status, 200);
    }
    redis.ask::<()>(&["DEL", &redis.keys()[0]]);
    // With this pause, the leased tokens would last longer.
    let took = wait::until("the count is new", || {
        sleep(Duration::from_millis(300));
        connection.get("/leased").x_headers().1 > 900
    });
    assert!(took < Duration::from_secs(3), "a count that is gone is seen after {took:?}");
}

#[test]
fn a_reset_reaches_a_lease_elsewhere() {
    let redis = RedisServer::on_socket();
    let store = Shared::in_redis(&redis, routes);
    let target = Target::new("a lease", 1000, FOREVER).global();
    let passes = |server: &Served| {
        let mut connection = server.open();
        (0..).take_while(|_| connection.get("/leased").status == 200).count()
    };
    let first = passes(&store.here) + passes(&store.there);
    assert!((1000 - 3 * 49..=1000).contains(&first), "{first}");
    store.reset(&target);
    let reset = Instant::now();
    assert_eq!(store.peek(&target).remaining(), 1000);
    wait::until("the worker that refused admits again", || store.here.get("/leased").status == 200);
    assert!(reset.elapsed() < Duration::from_secs(3), "{:?}", reset.elapsed());
    // A lease from before the reset is valid for at most a second.
    sleep(Duration::from_secs(1));
    let second = passes(&store.here) + passes(&store.there) + 1;
    assert!((1000 - 3 * 49 - 1..=1000 + 4 * 49).contains(&second), "{second}");
}
