//! `over_limit`: the answer to a request over its limit.

use actix_web::error::{ErrorConflict, ErrorImATeapot};
use actix_web::web::{self, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{RateLimitState, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;

use crate::{START, in_memory, window_end};

fn sorry(request: &HttpRequest, state: &RateLimitState) -> HttpResponse {
    let text = format!("{} admits {}, over: {}", request.path(), state.limit(), state.is_over());
    HttpResponse::ServiceUnavailable().body(text)
}

fn words(_: &HttpRequest, _: &RateLimitState) -> &'static str {
    "come back later"
}

// In this edition, the compiler assumes that the result borrows from both arguments.
fn opaque(_: &HttpRequest, _: &RateLimitState) -> impl Responder {
    "whenever you like"
}

fn fails(_: &HttpRequest, _: &RateLimitState) -> Result<HttpResponse, Error> {
    Err(ErrorImATeapot("short and stout"))
}

async fn handler_like(path: web::Path<u32>, state: RateLimitState) -> impl Responder {
    format!("{} waits {} s", path, state.retry_after().unwrap_or_default())
}

async fn without_arguments() -> HttpResponse {
    HttpResponse::Gone().finish()
}

fn too_many(_: &HttpRequest, _: &RateLimitState) -> HttpResponse {
    HttpResponse::TooManyRequests().finish()
}

fn too_many_for_a_week(_: &HttpRequest, _: &RateLimitState) -> HttpResponse {
    HttpResponse::TooManyRequests().insert_header(("Retry-After", "604800")).finish()
}

async fn picky(_: web::Query<Vec<(String, u32)>>) -> HttpResponse {
    HttpResponse::Ok().finish()
}

mod answers {
    use super::{HttpRequest, HttpResponse, RateLimitState};

    pub(super) fn sorry(request: &HttpRequest, state: &RateLimitState) -> HttpResponse {
        super::sorry(request, state)
    }
}

macro_rules! handlers {
    ($($path:literal $name:ident($function:path);)*) => {
        $(
            #[ratelimit(limit = 1, per = 60, over_limit = $function)]
            async fn $name() -> impl Responder {
                "hello"
            }
        )*

        fn routes(config: &mut ServiceConfig) {
            $( config.route($path, web::get().to($name)); )*
            config.route("/shadow", web::get().to(shadow)).route("/watched", web::get().to(watched));
            config.route("/watched-for-a-minute", web::get().to(watched_for_a_minute));
        }
    };
}

handlers! {
    "/plain" plain(sorry);
    "/elsewhere" elsewhere(answers::sorry);
    "/words" text(words);
    "/opaque" opaque_text(opaque);
    "/fails" failing(fails);
    "/handler/{id}" like_a_handler(handler_like);
    "/bare" bare(without_arguments);
    "/429" with_its_own_429(too_many);
    "/429-for-a-week" with_a_429_for_a_week(too_many_for_a_week);
    "/picky" with_a_failing_extractor(picky);
}

#[ratelimit(limit = 2, per = 60, over_limit = "allow")]
async fn shadow(state: RateLimitState) -> String {
    format!("{} {}", state.is_over(), state.remaining())
}

#[ratelimit(limit = 3, per = 60)]
#[ratelimit(limit = 1, per = 3600, over_limit = "allow")]
async fn watched(state: RateLimitState) -> String {
    let over: Vec<_> = state.rules().map(|rule| rule.is_over()).collect();
    format!("{over:?}")
}

#[ratelimit(limit = 3, per = 3600)]
#[ratelimit(limit = 1, per = 60, over_limit = "allow")]
async fn watched_for_a_minute(state: RateLimitState) -> String {
    format!("{} {}", state.limit(), state.is_over())
}

#[test]
fn a_function_answers_in_place_of_the_429() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let wait = window_end(START, 60) - START;
    for (path, status, body) in [
        ("/plain", 503, "/plain admits 1, over: true"),
        ("/elsewhere", 503, "/elsewhere admits 1, over: true"),
        ("/words", 200, "come back later"),
        ("/opaque", 200, "whenever you like"),
        ("/fails", 418, "short and stout"),
        ("/handler/5", 200, &*format!("5 waits {wait} s")),
        ("/bare", 410, ""),
    ] {
        assert_eq!(server.get(path).body, "hello", "{path}");
        for _ in 0..2 {
            let reply = server.get(path);
            assert_eq!((reply.status, reply.body.as_str()), (status, body), "{path}");
            assert_eq!(reply.x_headers(), (1, 0, window_end(START, 60)), "{path}");
        }
    }
}

#[test]
fn a_429_of_a_function_says_when_to_come_back_unless_it_has_said_so_itself() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let wait = (window_end(START, 60) - START).to_string();
    for (path, status, retry_after) in
        [("/429", 429, Some(&*wait)), ("/429-for-a-week", 429, Some("604800")), ("/plain", 503, None)]
    {
        assert_eq!(server.get(path).status, 200, "{path}");
        let refusal = server.get(path);
        assert_eq!((refusal.status, refusal.header("retry-after")), (status, retry_after), "{path}");
        assert_eq!(refusal.all("retry-after").len(), usize::from(retry_after.is_some()), "{path}");
    }
}

#[test]
fn a_request_is_over_if_any_of_its_rules_is_though_the_state_speaks_of_another() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    // The third request uses up the hour, so the headers tell about the hour.
    for body in ["1 false", "1 true", "3 true"] {
        let reply = server.get("/watched-for-a-minute");
        assert_eq!((reply.status, reply.body.as_str()), (200, body));
    }
}

#[test]
fn a_failing_extractor_of_the_function_answers_with_its_error() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    assert_eq!(server.get("/picky?a=1").status, 200);
    assert_eq!(server.get("/picky?a=1").body, "");
    assert_eq!(server.get("/picky?a=x").status, 400);
}

#[test]
fn allow_counts_and_reports_and_never_refuses() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let reset = window_end(START, 60);
    for (body, remaining) in [("false 1", 1), ("false 0", 0), ("true 0", 0), ("true 0", 0)] {
        let reply = server.get("/shadow");
        assert_eq!((reply.status, reply.body.as_str()), (200, body));
        assert_eq!(reply.x_headers(), (2, remaining, reset));
        assert_eq!(reply.header("retry-after"), None);
    }
}

#[test]
fn a_rule_that_only_watches_does_not_keep_the_other_from_refusing() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    for body in ["[false, false]", "[false, true]", "[false, true]"] {
        let reply = server.get("/watched");
        assert_eq!((reply.status, reply.body.as_str()), (200, body));
    }
    let refusal = server.get("/watched");
    assert_eq!((refusal.status, refusal.x_headers()), (429, (3, 0, window_end(START, 60))));
}

#[ratelimit(limit = 100, per = 60)]
#[ratelimit(limit = 5, per = 3600, over_limit = "allow", cost = size)]
async fn watched_by_size(state: RateLimitState) -> String {
    format!("{:?}", state.rules().map(|rule| (rule.is_over(), rule.remaining())).collect::<Vec<_>>())
}

fn size(request: &HttpRequest) -> u32 {
    request.query_string().parse().unwrap_or(1)
}

#[test]
fn a_rule_that_only_watches_counts_no_request_that_it_has_no_room_for() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/", web::get().to(watched_by_size));
    });
    for (path, body) in [
        ("/?3", "[(false, 99), (false, 2)]"),
        ("/?3", "[(false, 98), (true, 2)]"),
        ("/?2", "[(false, 97), (false, 0)]"),
        ("/?1", "[(false, 96), (true, 0)]"),
    ] {
        assert_eq!(server.get(path).body, body, "{path}");
    }
}

#[ratelimit(limit = 1, per = 60, over_limit = first, scope = "header:x-first")]
#[ratelimit(limit = 1, per = 3600, over_limit = second, scope = "header:x-second")]
async fn two_answers() -> impl Responder {
    "hello"
}

async fn first() -> Result<String, Error> {
    Err(ErrorConflict("first"))
}

fn second(_: &HttpRequest, state: &RateLimitState) -> String {
    format!("second, {}", state.limit())
}

#[test]
fn of_several_rules_the_one_that_refuses_answers() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/", web::get().to(two_answers));
    });
    let body = |first, second| server.get_with("/", &[("X-First", first), ("X-Second", second)]).body;
    assert_eq!(body("a", "a"), "hello");
    assert_eq!(body("a", "b"), "first");
    assert_eq!(body("b", "a"), "second, 1");
    assert_eq!(body("b", "b"), "hello");
}

#[ratelimit(limit = 1, per = 60, over_limit = of_one, scope = "header:x-one")]
#[ratelimit(limit = 2, per = 60, over_limit = of_two, scope = "header:x-two")]
async fn tie() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 2, per = 60, over_limit = of_two, scope = "header:x-two")]
#[ratelimit(limit = 1, per = 60, over_limit = of_one, scope = "header:x-one")]
async fn tie_the_other_way_round() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 1, per = 60, over_limit = of_one, scope = "header:x-one")]
#[ratelimit(limit = 2, per = 3600, over_limit = of_two, scope = "header:x-two")]
async fn no_tie() -> impl Responder {
    "hello"
}

fn of_one(_: &HttpRequest, state: &RateLimitState) -> String {
    answer_of(1, state)
}

fn of_two(_: &HttpRequest, state: &RateLimitState) -> String {
    answer_of(2, state)
}

/// The rule that answers, by its limit, and the rule that the state names.
fn answer_of(limit: u32, state: &RateLimitState) -> String {
    let tightest = state.rules().nth(state.tightest()).map(|rule| rule.limit());
    assert!(state.rules().all(|rule| rule.is_over()), "one of the rules would have admitted the request");
    format!("{limit} {tightest:?}")
}

#[test]
fn of_several_rules_that_refuse_the_one_that_the_state_names_answers() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/tie", web::get().to(tie)).route("/other-tie", web::get().to(tie_the_other_way_round));
        config.route("/no-tie", web::get().to(no_tie));
    });
    for path in ["/tie", "/other-tie", "/no-tie"] {
        let ask = |one| server.get_with(path, &[("X-One", one), ("X-Two", "a")]);
        assert_eq!([ask("a").body, ask("b").body], ["hello", "hello"], "{path}");
        let refusal = ask("a");
        let limit = refusal.number("x-ratelimit-limit");
        assert_eq!(refusal.body, format!("{limit} Some({limit})"), "{path}");
    }
    let longest = server.get_with("/no-tie", &[("X-One", "a"), ("X-Two", "a")]);
    assert_eq!(longest.x_headers(), (2, 0, window_end(START, 3600)));
}
