//! Several rules on one handler, and several handlers with one counter.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder, get};
use ratelimit_runtime::{RateLimitState, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;

use crate::{START, in_memory, window_end};

#[get("/attributes")]
#[ratelimit(limit = 2, per = 60, scope = "header:x-id")]
#[ratelimit(limit = 3, per = 3600, scope = "header:x-id")]
async fn two_attributes(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| (rule.limit(), rule.per(), rule.remaining())).collect::<Vec<_>>())
}

#[ratelimit(limit = 2, per = 60, scope = "header:x-id")]
#[get("/split")]
#[ratelimit(limit = 3, per = 3600, scope = "header:x-id")]
async fn split_attributes(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| (rule.limit(), rule.per(), rule.remaining())).collect::<Vec<_>>())
}

#[get("/semicolon")]
#[ratelimit("2/minute; 3/hour", scope = "header:x-id")]
async fn semicolon(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| (rule.limit(), rule.per(), rule.remaining())).collect::<Vec<_>>())
}

#[get("/comma")]
#[ratelimit("2 per minute, 3 per 1 hour", scope = "header:x-id")]
async fn comma(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| (rule.limit(), rule.per(), rule.remaining())).collect::<Vec<_>>())
}

fn several(config: &mut ServiceConfig) {
    config.service(two_attributes).service(split_attributes).service(semicolon).service(comma);
}

#[test]
fn every_rule_of_a_handler_is_checked_however_they_are_written() {
    for path in ["/attributes", "/split", "/semicolon", "/comma"] {
        let (limiter, clock) = in_memory();
        let server = Served::limited(&limiter, several);
        assert_eq!(server.get(path).body, "[(2, 60, 1), (3, 3600, 2)]", "{path}");
        assert_eq!(server.get(path).body, "[(2, 60, 0), (3, 3600, 1)]", "{path}");
        assert_eq!(server.get(path).x_headers(), (2, 0, window_end(START, 60)), "{path}");
        clock.set(window_end(START, 60));
        assert_eq!(server.get(path).body, "[(2, 60, 1), (3, 3600, 0)]", "{path}: refused requests do not count");
        let refusal = server.get(path);
        assert_eq!((refusal.status, refusal.x_headers()), (429, (3, 0, window_end(START, 3600))), "{path}");
        assert_eq!(refusal.number("retry-after"), window_end(START, 3600) - window_end(START, 60), "{path}");
    }
}

#[get("/pair")]
#[ratelimit(limit = 5, per = 60, scope = "header:x-a")]
#[ratelimit(limit = 1, per = 60, scope = "header:x-b")]
async fn pair() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_request_that_one_rule_refuses_counts_in_none() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.service(pair);
    });
    let status = |b: &str| server.get_with("/pair", &[("X-A", "a"), ("X-B", b)]).status;
    assert_eq!([status("1"), status("1"), status("1"), status("1"), status("1")], [200, 429, 429, 429, 429]);
    // Four of the five that the first rule admits are still there.
    assert_eq!([status("2"), status("3"), status("4"), status("5"), status("6")], [200, 200, 200, 200, 429]);
}

#[ratelimit(limit = 2, per = 60, key = "shared")]
async fn shared_here() -> impl Responder {
    HttpResponse::Ok()
}

mod elsewhere {
    use super::{HttpResponse, Responder, ratelimit};

    #[ratelimit(limit = 2, per = 60, key = "shared")]
    pub(super) async fn shared_there() -> impl Responder {
        HttpResponse::Ok()
    }

    #[ratelimit(limit = 2, per = 60)]
    pub(super) async fn list() -> impl Responder {
        HttpResponse::Ok()
    }
}

#[ratelimit(limit = 2, per = 60)]
async fn list() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 60, key = plan)]
async fn by_plan() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 2, per = 60, key = plan_of_the_path)]
async fn by_path(_: web::Path<String>) -> impl Responder {
    HttpResponse::Ok()
}

/// A handler at the path of its name for each of these rules, all with one key and a limit of 1.
macro_rules! of_one_key {
    ($($name:ident($($arguments:tt)*);)*) => {
        $(
            #[ratelimit(limit = 1, key = "of one key", $($arguments)*)]
            async fn $name() -> impl Responder {
                HttpResponse::Ok()
            }
        )*

        const OF_ONE_KEY: &[&str] = &[$(concat!("/", stringify!($name))),*];

        fn of_one_key(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
        }
    };
}

of_one_key! {
    of_a_minute(per = 60, scope = "global");
    of_an_hour(per = 3600, scope = "global");
    by_one_header(per = 60, scope = "header:x-a");
    by_another_header(per = 60, scope = "header:x-b");
    by_no_such_header(per = 60, scope = "header:x-none");
    by_no_such_other_header(per = 60, scope = "header:x-nothing");
    by_address(per = 60);
    staggered(per = 60, scope = "global", stagger = true);
    sliding(per = 60, scope = "global", algorithm = "sliding-window");
    sliding_staggered(per = 60, scope = "global", algorithm = "sliding-window", stagger = true);
    gcra(per = 60, scope = "global", algorithm = "gcra");
}

fn plan(request: &HttpRequest) -> String {
    request.query_string().to_owned()
}

async fn plan_of_the_path(path: web::Path<String>) -> String {
    path.into_inner()
}

#[ratelimit(limit = 2, per = 60, key = plan)]
#[ratelimit(limit = 9, per = 60, key = another_plan)]
async fn by_one_plan_twice(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| rule.remaining()).collect::<Vec<_>>())
}

fn another_plan(request: &HttpRequest) -> String {
    plan(request)
}

fn keys(config: &mut ServiceConfig) {
    config.route("/twice", web::get().to(by_one_plan_twice));
    config.route("/shared/here", web::get().to(shared_here));
    config.route("/shared/there", web::get().to(elsewhere::shared_there));
    config.route("/list/here", web::get().to(list)).route("/list/there", web::get().to(elsewhere::list));
    config.route("/plan", web::get().to(by_plan)).route("/path/{plan}", web::get().to(by_path));
}

#[test]
fn handlers_that_name_the_same_key_share_one_counter() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, keys);
    assert_eq!(server.get("/shared/here").status, 200);
    assert_eq!(server.get("/shared/there").x_headers(), (2, 0, window_end(START, 60)));
    assert_eq!(server.get("/shared/here").status, 429);
    assert_eq!(server.get("/shared/there").status, 429);
}

#[test]
fn with_another_window_scope_or_algorithm_they_do_not() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, of_one_key);
    for path in OF_ONE_KEY {
        let statuses = [(); 2].map(|()| server.get_with(path, &[("X-A", "a"), ("X-B", "a")]).status);
        assert_eq!(statuses, [200, 429], "{path}");
    }
}

#[test]
fn handlers_of_one_name_in_two_modules_do_not_either() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, keys);
    assert_eq!(server.statuses("/list/here", 3), [200, 200, 429]);
    assert_eq!(server.statuses("/list/there", 3), [200, 200, 429]);
}

#[test]
fn rules_of_one_handler_count_one_by_one_though_their_functions_give_the_same_key() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, keys);
    for body in ["[1, 8]", "[0, 7]"] {
        assert_eq!(server.get("/twice?platinum").body, body);
    }
    assert_eq!(server.get("/twice?platinum").status, 429);
}

#[test]
fn a_key_function_chooses_the_counter_for_each_request() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, keys);
    assert_eq!(server.statuses("/plan?gold", 3), [200, 200, 429]);
    assert_eq!(server.statuses("/plan?silver", 3), [200, 200, 429]);
    // Handlers whose key functions return the same key share a counter, as with a constant key.
    assert_eq!(server.statuses("/path/gold", 1), [429]);
    assert_eq!(server.statuses("/path/bronze", 3), [200, 200, 429]);
}
