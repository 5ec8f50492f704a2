//! Leases of one worker: each token is spent once, and for the request that it was taken for.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};

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

/// Resets the counter in the worker that has tokens of it.
async fn reset(request: HttpRequest) -> impl Responder {
    let limiter = request.app_data::<RateLimiter>().expect("a limiter");
    Target::new("all", LIMIT, FOREVER).global().reset(limiter).await.expect("Redis answers");
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/all", web::get().to(all)).route("/two-rules", web::get().to(two_rules));
    config.route("/seven", web::get().to(seven)).route("/two", web::get().to(two));
    config.route("/reset", web::get().to(reset));
}

fn connect(redis: &RedisServer) -> (Served, Connection) {
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    let server = Served::limited_by(&limiter.store(&redis.url()).build().expect("a URL"), 1, routes);
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
    // A token that was taken may be refused to others, until it is given back.
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
    // A token that was taken may be refused to others, until it is given back.
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
