//! How often a check calls the functions of users: once for each request, and not at all when the answer changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use actix_web::error::ErrorImATeapot;
use actix_web::web;
use actix_web::{Error, HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;

use crate::in_memory;

static ASKED: AtomicUsize = AtomicUsize::new(0);

fn asked(_: &HttpRequest) -> &'static str {
    ASKED.fetch_add(1, SeqCst);
    "anybody"
}

#[ratelimit("10/second; 1000/hour", scope = asked)]
#[ratelimit(limit = 100, per = 60, scope = ["ip", asked], key = asked)]
async fn asks() -> impl Responder {
    HttpResponse::Ok()
}

static COST_ASKED: AtomicUsize = AtomicUsize::new(0);
static EXEMPT_ASKED: AtomicUsize = AtomicUsize::new(0);

fn cost_asked(_: &HttpRequest) -> u32 {
    COST_ASKED.fetch_add(1, SeqCst);
    1
}

fn exempt_asked(_: &HttpRequest) -> bool {
    EXEMPT_ASKED.fetch_add(1, SeqCst);
    false
}

#[ratelimit("10/second; 1000/hour", cost = cost_asked, exempt = exempt_asked)]
async fn asks_for_cost_and_exemption() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_function_that_several_rules_name_is_asked_once_for_each_request() {
    let server = Served::limited(&in_memory().0, |config| {
        config.route("/", web::get().to(asks)).route("/cost", web::get().to(asks_for_cost_and_exemption));
    });
    for requests in 1..=12 {
        let expected = if requests <= 10 { 200 } else { 429 };
        assert_eq!(server.get("/").status, expected, "request {requests}");
        assert_eq!(ASKED.load(SeqCst), requests);
        assert_eq!(server.get("/cost").status, expected, "request {requests}");
        assert_eq!((COST_ASKED.load(SeqCst), EXEMPT_ASKED.load(SeqCst)), (requests, requests));
    }
}

/// Returns an error with status 418.
fn refuses_to_say<T>(_: &HttpRequest) -> Result<T, Error> {
    Err(ErrorImATeapot("nobody should ask"))
}

fn optional_tenant(request: &HttpRequest) -> Option<String> {
    request.headers().get("x-tenant").and_then(|tenant| tenant.to_str().ok()).map(str::to_owned)
}

fn everybody(_: &HttpRequest) -> bool {
    true
}

#[ratelimit(limit = 1, per = 60, methods = ["POST"], exempt = refuses_to_say::<bool>)]
async fn another_method() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = 60, exempt = everybody, cost = refuses_to_say::<u32>)]
#[ratelimit(limit = 1, per = 60, exempt = everybody, scope = refuses_to_say::<String>)]
#[ratelimit(limit = 1, per = 60, exempt = everybody, key = refuses_to_say::<String>)]
async fn exempt() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = 60, scope = [optional_tenant, refuses_to_say::<String>])]
async fn exempt_by_its_scope() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = 60, key = optional_tenant, cost = refuses_to_say::<u32>)]
async fn exempt_by_its_key() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_rule_that_does_not_count_the_request_asks_no_further_function() {
    let server = Served::limited(&in_memory().0, |config| {
        config.route("/method", web::get().to(another_method)).route("/method", web::post().to(another_method));
        config.route("/exempt", web::get().to(exempt)).route("/scope", web::get().to(exempt_by_its_scope));
        config.route("/key", web::get().to(exempt_by_its_key));
    });
    for path in ["/method", "/exempt", "/scope", "/key"] {
        assert_eq!(server.statuses(path, 2), [200, 200], "{path}");
    }
    assert_eq!(server.open().ask("POST", "/method", &[]).status, 418);
    for path in ["/scope", "/key"] {
        assert_eq!(server.get_with(path, &[("X-Tenant", "a")]).status, 418, "{path}");
    }
}

static USER_ASKED: AtomicUsize = AtomicUsize::new(0);

#[ratelimit("10/second; 1000/hour", scope = "user")]
#[ratelimit(limit = 100, per = 60, scope = "ip+user")]
async fn asks_for_the_user() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn the_user_function_is_asked_once_for_each_request_too() {
    let user = |_: &HttpRequest| {
        USER_ASKED.fetch_add(1, SeqCst);
        Some("anybody")
    };
    let server = Served::limited(&RateLimiter::builder().user(user).build().expect("a limiter in memory"), |config| {
        config.route("/", web::get().to(asks_for_the_user));
    });
    for requests in 1..=3 {
        assert_eq!((server.get("/").status, USER_ASKED.load(SeqCst)), (200, requests));
    }
}
