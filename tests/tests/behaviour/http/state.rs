//! `RateLimitState`: what handlers and middlewares learn about the check.

use std::sync::Mutex;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpMessage, HttpRequest, HttpResponse, HttpServer};
use ratelimit_runtime::{RateLimitState, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;

use crate::{START, in_memory, window_end};

#[ratelimit(limit = 2, per = 60)]
#[ratelimit(limit = 100, per = 3600)]
async fn told(state: RateLimitState) -> String {
    describe(&state)
}

#[ratelimit(limit = 2, per = 60)]
async fn from_the_extensions(request: HttpRequest) -> String {
    request.extensions().get::<RateLimitState>().map(describe).unwrap_or_default()
}

#[ratelimit(limit = 2, per = 60, scope = nobody)]
async fn exempt(state: RateLimitState) -> String {
    describe(&state)
}

#[ratelimit(limit = 2, per = 60, scope = nobody, algorithm = "gcra", burst = 7)]
async fn exempt_from_gcra(state: RateLimitState) -> String {
    describe(&state)
}

#[ratelimit(limit = 2, per = 5, algorithm = "gcra", burst = 7)]
async fn bucket(state: RateLimitState) -> String {
    describe(&state)
}

#[ratelimit(limit = 3, per = 3600, count_if = failed)]
#[ratelimit(limit = 4, per = 60)]
async fn refunded() -> HttpResponse {
    HttpResponse::Ok().finish()
}

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

fn nobody(_: &HttpRequest) -> Option<String> {
    None
}

async fn unlimited(state: Option<RateLimitState>) -> String {
    state.is_none().to_string()
}

async fn unlimited_but_asking(_: RateLimitState) -> &'static str {
    "never"
}

fn describe(state: &RateLimitState) -> String {
    let rules: Vec<_> =
        state.rules().map(|rule| (rule.limit(), rule.per(), rule.remaining(), rule.reset_at())).collect();
    format!(
        "{}/{} until {:?} in {:?} s; over {}, counted {}, degraded {}, tightest {} of {rules:?}",
        state.remaining(),
        state.limit(),
        state.reset_at(),
        state.retry_after(),
        state.is_over(),
        state.is_counted(),
        state.is_degraded(),
        state.tightest(),
    )
}

fn routes(config: &mut ServiceConfig) {
    config.route("/told", web::get().to(told)).route("/extensions", web::get().to(from_the_extensions));
    config.route("/exempt-from-gcra", web::get().to(exempt_from_gcra)).route("/refunded", web::get().to(refunded));
    config.route("/exempt", web::get().to(exempt)).route("/unlimited", web::get().to(unlimited));
    config.route("/asking", web::get().to(unlimited_but_asking)).route("/bucket", web::get().to(bucket));
}

#[test]
fn a_handler_takes_the_state_as_an_argument() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    let (minute, hour) = (window_end(START, 60), window_end(START, 3600));
    let expected = format!(
        "1/2 until Some({minute}) in Some({}) s; over false, counted true, degraded false, tightest 0 of [(2, 60, 1, {minute}), (100, 3600, 99, {hour})]",
        minute - START
    );
    assert_eq!(server.get("/told").body, expected);
}

#[test]
fn the_numbers_of_a_bucket_are_those_of_its_burst_and_times_are_rounded_up() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    // A token comes back in 2.5 seconds, and seven in 17.5.
    let back = START + 3;
    let expected = format!(
        "6/7 until Some({back}) in Some(3) s; over false, counted true, degraded false, tightest 0 of [(7, 18, 6, {back})]"
    );
    assert_eq!(server.get("/bucket").body, expected);
}

#[test]
fn the_state_is_in_the_extensions_before_the_handler_runs() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    assert!(server.get("/extensions").body.starts_with("1/2 until Some("));
    assert!(server.get("/extensions").body.starts_with("0/2 until Some("));
}

#[test]
fn an_exempt_request_has_a_state_that_says_so() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    for (path, limit) in [("/exempt", 2), ("/exempt-from-gcra", 7)] {
        let expected = format!(
            "{limit}/{limit} until None in None s; over false, counted false, degraded false, tightest 0 of []"
        );
        assert_eq!(server.get(path).body, expected);
    }
}

#[test]
fn a_handler_without_a_limit_has_no_state() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, routes);
    assert_eq!(server.get("/unlimited").body, "true");
    let mistake = server.get("/asking");
    assert_eq!((mistake.status, mistake.header("content-type")), (500, Some("application/problem+json")));
    assert_eq!(mistake.header("cache-control"), Some("no-store"));
}

/// The status, how many remain of which limit, and whether the request is over it.
static SEEN: Mutex<Vec<(u16, u32, u32, bool)>> = Mutex::new(Vec::new());

async fn watch(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = next.call(request).await?;
    let state = answer.request().extensions().get::<RateLimitState>().cloned();
    if let Some(state) = state {
        SEEN.lock().unwrap().push((answer.status().as_u16(), state.remaining(), state.limit(), state.is_over()));
    }
    Ok(answer)
}

#[test]
fn a_middleware_finds_the_state_of_successes_refusals_and_refunds() {
    let (limiter, _clock) = in_memory();
    let server = Served::start(move |listener| {
        let app = move || App::new().app_data(limiter.clone()).wrap(from_fn(watch)).configure(routes);
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    assert_eq!(server.get("/unlimited").status, 200);
    assert_eq!(server.statuses("/told", 3), [200, 200, 429]);
    assert_eq!(*SEEN.lock().unwrap(), [(200, 1, 2, false), (200, 0, 2, false), (429, 0, 2, true)]);
    SEEN.lock().unwrap().clear();
    assert_eq!(server.statuses("/refunded", 2), [200, 200]);
    assert_eq!(*SEEN.lock().unwrap(), [(200, 3, 3, false), (200, 2, 4, false)]);
}
