//! Tests for every store. Each runs in memory, in Redis over TCP and in Redis over a Unix socket.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimitState, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;

#[ratelimit(limit = 3, per = FOREVER)]
async fn three() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = FOREVER, scope = "header:x-id")]
async fn by_header() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-a")]
#[ratelimit(limit = 1, per = FOREVER, scope = "header:x-b")]
async fn all_or_nothing() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 4, per = FOREVER)]
#[ratelimit(limit = 1, per = FOREVER, over_limit = "allow", scope = "global")]
async fn watched() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = FOREVER, key = plan)]
async fn by_plan() -> impl Responder {
    HttpResponse::Ok()
}

fn plan(request: &HttpRequest) -> Option<String> {
    Some(request.query_string().to_owned()).filter(|plan| !plan.is_empty())
}

#[ratelimit(limit = 2, per = FOREVER, key = "shared by limits")]
async fn two_of_the_shared() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 4, per = FOREVER, key = "shared by limits")]
async fn four_of_the_shared() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = FOREVER)]
#[ratelimit(limit = 1, per = 2_000_000_000)]
#[ratelimit(limit = 1, per = 1_999_999_999)]
#[ratelimit(limit = 1, per = 1_999_999_998)]
async fn four_rules() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 1, per = FOREVER, key = "platinum")]
async fn with_a_key() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 3, per = FOREVER, scope = "user")]
#[ratelimit(limit = 1000, per = FOREVER, scope = "ip")]
async fn user_and_ip(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| rule.remaining()).collect::<Vec<_>>())
}

#[ratelimit(limit = 1000, per = FOREVER, scope = "ip")]
#[ratelimit(limit = 3, per = FOREVER, scope = "header:x-user")]
async fn ip_and_header(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| rule.remaining()).collect::<Vec<_>>())
}

#[ratelimit(limit = 3, per = FOREVER, scope = "user")]
#[ratelimit(limit = 3, per = FOREVER, scope = "header:x-user")]
async fn user_and_header(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| rule.remaining()).collect::<Vec<_>>())
}

macro_rules! tenants {
    ($($module:ident)*) => { $(
        mod $module {
            use super::{FOREVER, HttpRequest, HttpResponse, Responder, ratelimit};

            fn tenant(_: &HttpRequest) -> &'static str {
                "the same"
            }

            #[ratelimit(limit = 1, per = FOREVER, key = "tenants", scope = tenant)]
            pub(super) async fn handler() -> impl Responder {
                HttpResponse::Ok()
            }
        }
    )* };
}

tenants! { one other }

fn user(request: &HttpRequest) -> Option<String> {
    Some(request.headers().get("x-user")?.to_str().ok()?.to_owned())
}

fn routes(config: &mut ServiceConfig) {
    config.route("/platinum", web::get().to(with_a_key)).route("/user-and-ip", web::get().to(user_and_ip));
    config.route("/ip-and-header", web::get().to(ip_and_header));
    config.route("/user-and-header", web::get().to(user_and_header));
    config.route("/one", web::get().to(one::handler)).route("/other", web::get().to(other::handler));
    config.route("/three", web::get().to(three)).route("/header", web::get().to(by_header));
    config.route("/all-or-nothing", web::get().to(all_or_nothing)).route("/watched", web::get().to(watched));
    config.route("/plan", web::get().to(by_plan)).route("/four-rules", web::get().to(four_rules));
    config.route("/two", web::get().to(two_of_the_shared)).route("/four", web::get().to(four_of_the_shared));
}

/// Runs a test of two servers that share a store, for each store.
fn in_each_store(test: impl Fn(&str, [&Served; 2])) {
    let memory = builder().build().expect("a limiter in memory");
    run("in memory", || memory.clone(), &test);
    #[cfg(feature = "redis")]
    for (name, redis) in [("over TCP", RedisServer::on_port()), ("over a Unix socket", RedisServer::on_socket())] {
        let connect = || {
            // The deadline is long, because these tests are not about failures.
            let builder = builder().deadline(ratelimit_tests::wait::PATIENCE);
            builder.store(redis.url()).build().expect("a URL")
        };
        run(name, connect, &test);
    }
}

fn builder() -> RateLimiterBuilder {
    RateLimiter::builder().user(user)
}

fn run(name: &str, limiter: impl Fn() -> RateLimiter, test: &impl Fn(&str, [&Served; 2])) {
    let servers = [limiter(), limiter()].map(|limiter| Served::limited(&limiter, routes));
    test(name, [&servers[0], &servers[1]]);
}

#[test]
fn servers_that_share_a_store_share_the_limit() {
    in_each_store(|store, [here, there]| {
        assert_eq!(here.get("/three").x_headers().1, 2, "{store}");
        assert_eq!(there.get("/three").x_headers().1, 1, "{store}");
        assert_eq!(here.get("/three").x_headers().1, 0, "{store}");
        assert_eq!((there.get("/three").status, here.get("/three").status), (429, 429), "{store}");
    });
}

#[test]
fn the_answer_says_when_the_window_ends() {
    in_each_store(|store, [here, _]| {
        let (limit, _, reset) = here.get("/three").x_headers();
        assert_eq!((limit, reset % u64::from(FOREVER)), (3, 0), "{store}");
    });
}

#[test]
fn every_value_of_a_scope_has_a_counter_of_its_own() {
    let long = "x".repeat(5000);
    let longer = format!("{long}y");
    in_each_store(|store, [here, there]| {
        for value in
            ["a", "A", "a/b", "a+b", "a%2Fb", "a b", "a:b", "*", "a\"b", "a\\b", "{a}", "\u{e4}", &long, &longer]
        {
            let status = |server: &Served| server.get_with("/header", &[("X-Id", value)]).status;
            assert_eq!([status(here), status(there), status(here)], [200, 200, 429], "{store}: {value}");
        }
    });
}

#[test]
fn in_every_store_a_request_that_one_rule_refuses_counts_in_none() {
    in_each_store(|store, [here, there]| {
        let status = |server: &Served, b: &str| server.get_with("/all-or-nothing", &[("X-A", "a"), ("X-B", b)]).status;
        assert_eq!([status(here, "1"), status(there, "1"), status(here, "1")], [200, 429, 429], "{store}");
        let others = ["2", "3", "4", "5", "6"].map(|b| status(there, b));
        assert_eq!(others, [200, 200, 200, 200, 429], "{store}");
    });
}

#[test]
fn a_rule_that_only_watches_refuses_nobody() {
    in_each_store(|store, [here, there]| {
        assert_eq!(here.statuses("/watched", 2), [200, 200], "{store}");
        assert_eq!(there.statuses("/watched", 3), [200, 200, 429], "{store}");
    });
}

#[test]
fn a_key_function_chooses_the_counter_or_exempts() {
    in_each_store(|store, [here, there]| {
        for plan in ["gold", "gold/1", "gold%2F1"] {
            let path = format!("/plan?{plan}");
            assert_eq!((here.get(&path).status, there.get(&path).status), (200, 429), "{store}: {plan}");
        }
        assert_eq!(here.statuses("/plan", 3), [200, 200, 200], "{store}");
    });
}

#[test]
fn what_a_key_function_gives_is_never_the_key_of_another_handler() {
    let of_a_handler = concat!(module_path!(), "::three");
    in_each_store(|store, [here, there]| {
        for key in ["platinum", "=platinum", of_a_handler, "shared%20by%20limits"] {
            let path = format!("/plan?{key}");
            assert_eq!((here.get(&path).status, there.get(&path).status), (200, 429), "{store}: {key}");
        }
        assert_eq!(there.statuses("/platinum", 2), [200, 429], "{store}");
        assert_eq!(there.statuses("/three", 4), [200, 200, 200, 429], "{store}");
        assert_eq!(there.statuses("/two", 3), [200, 200, 429], "{store}");
    });
    in_each_store(|store, [here, there]| {
        assert_eq!(here.statuses("/platinum", 2), [200, 429], "{store}");
        assert_eq!(there.statuses("/plan?platinum", 2), [200, 429], "{store}");
    });
}

#[test]
fn an_address_in_place_of_a_user_or_a_header_is_a_counter_of_its_own() {
    const USERS: [&str; 5] = ["alice", "alice", "alice", "bob", "bob"];
    in_each_store(|store, [here, there]| {
        for (path, first, others) in [
            ("/user-and-ip", "[2, 994]", [("[1, 993]", 200), ("[0, 992]", 200)]),
            ("/ip-and-header", "[994, 2]", [("[993, 1]", 200), ("[992, 0]", 200)]),
            ("/user-and-header", "[2, 2]", [("[1, 1]", 200), ("[0, 0]", 200)]),
        ] {
            let signed_in = USERS.map(|user| here.get_with(path, &[("X-User", user)]).status);
            assert_eq!(signed_in, [200; 5], "{store}: {path}");
            let anonymous = there.get(path);
            assert_eq!((anonymous.status, anonymous.body.as_str()), (200, first), "{store}: {path}");
            for (body, status) in others {
                let anonymous = here.get(path);
                assert_eq!((anonymous.body.as_str(), anonymous.status), (body, status), "{store}: {path}");
            }
            assert_eq!(there.get(path).status, 429, "{store}: {path}");
            let carol = there.get_with(path, &[("X-User", "carol")]);
            assert_eq!(carol.status, 200, "{store}: {path}: those who are nobody have used up a user's limit");
        }
    });
}

#[test]
fn scope_functions_of_one_name_in_two_modules_do_not_share_a_counter() {
    in_each_store(|store, [here, there]| {
        assert_eq!((here.get("/one").status, there.get("/other").status), (200, 500), "{store}");
        assert_eq!((there.get("/one").status, here.get("/other").status), (429, 500), "{store}");
    });
}

#[test]
fn handlers_that_share_a_key_may_have_different_limits() {
    in_each_store(|store, [here, there]| {
        assert_eq!(here.statuses("/four", 1), [200], "{store}");
        assert_eq!(there.statuses("/two", 2), [200, 429], "{store}");
        assert_eq!(here.statuses("/four", 3), [200, 200, 429], "{store}");
    });
}

#[test]
fn many_rules_of_one_handler_are_checked_together() {
    in_each_store(|store, [here, there]| {
        assert_eq!((here.get("/four-rules").status, there.get("/four-rules").status), (200, 429), "{store}");
    });
}
