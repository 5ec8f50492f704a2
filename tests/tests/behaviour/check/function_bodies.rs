//! Functions of an attribute that extract the request's body, which belongs to the handler. That is a mistake, and it must
//! not disable the limit.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Either, Form, Json, Payload, ServiceConfig};
use actix_web::{Error, HttpRequest};
use ratelimit_runtime::{RateLimitState, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server, request};
use ratelimit_tests::process::Process;

use crate::in_memory;

async fn text(body: String) -> String {
    body
}

async fn bytes(body: Bytes) -> usize {
    body.len()
}

async fn optional_bytes(body: Option<Bytes>) -> Option<usize> {
    body.map(|body| body.len())
}

async fn json(body: Json<String>) -> String {
    body.into_inner()
}

async fn optional_json(body: Option<Json<String>>) -> Option<String> {
    body.map(Json::into_inner)
}

async fn tried_json(body: Result<Json<String>, Error>) -> Option<String> {
    body.ok().map(Json::into_inner)
}

async fn optional_form(body: Option<Form<Vec<(String, String)>>>) -> Option<usize> {
    body.map(|body| body.len())
}

async fn json_or_form(body: Either<Json<String>, Form<Vec<(String, String)>>>) -> &'static str {
    if matches!(body, Either::Left(_)) { "json" } else { "form" }
}

async fn unread(_: Payload) -> &'static str {
    "whoever"
}

async fn behind_another(_: HttpRequest, body: Option<Json<String>>) -> Option<String> {
    body.map(Json::into_inner)
}

async fn cost(body: Bytes) -> usize {
    body.len()
}

async fn exempt(body: Option<Json<String>>) -> bool {
    body.is_none()
}

async fn answer(state: RateLimitState, body: String) -> String {
    format!("{} {body}", state.limit())
}

static ENTERED: AtomicUsize = AtomicUsize::new(0);

macro_rules! handlers {
    ($($name:ident($($arguments:tt)*);)*) => {
        mod handlers {
            $(
                #[super::ratelimit(limit = 1, per = 60, $($arguments)*)]
                pub(super) async fn $name(body: String) -> String {
                    super::ENTERED.fetch_add(1, super::SeqCst);
                    body
                }
            )*
        }

        const FUNCTIONS: &[&str] = &[$(concat!("/", stringify!($name))),*];

        fn routes(config: &mut ServiceConfig) {
            $( config.route(concat!("/", stringify!($name)), web::post().to(handlers::$name)); )*
        }
    };
}

handlers! {
    text(scope = super::text);
    bytes(scope = super::bytes);
    optional_bytes(scope = super::optional_bytes);
    json(scope = super::json);
    optional_json(scope = super::optional_json);
    tried_json(scope = super::tried_json);
    optional_form(scope = super::optional_form);
    json_or_form(scope = super::json_or_form);
    unread(scope = super::unread);
    behind_another(scope = super::behind_another);
    key(key = super::optional_json);
    cost(cost = super::cost);
    exempt(exempt = super::exempt);
    several(scope = ["ip", super::optional_json], key = super::text);
    user(scope = "user");
}

fn post(server: &Served, path: &str, kind: &str, body: &str) -> Reply {
    let length = body.len().to_string();
    let mut connection = server.open();
    connection.send(&(request("POST", path, &[("Content-Type", kind), ("Content-Length", &length)]) + body));
    connection.reply()
}

#[test]
fn a_function_that_extracts_the_body_is_answered_500_whatever_the_body_is() {
    let server =
        Served::limited(&RateLimiter::builder().user(optional_json).build().expect("a limiter in memory"), routes);
    let large = "x".repeat(300_000);
    for path in FUNCTIONS {
        let kind = if path.contains("form") { "application/x-www-form-urlencoded" } else { "application/json" };
        for body in ["", "\"alice\"", "a=b", &large] {
            let reply = post(&server, path, kind, body);
            assert_eq!(reply.status, 500, "{path} {reply:?}");
            assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
        }
    }
    assert_eq!(ENTERED.load(SeqCst), 0);
}

async fn from_the_head(request: HttpRequest, path: Option<web::Path<u32>>) -> String {
    format!("{} {}", request.method(), path.is_some())
}

#[ratelimit(limit = 2, per = 60, scope = from_the_head, over_limit = answer)]
async fn echo(body: Bytes) -> Bytes {
    body
}

#[ratelimit(limit = 1, per = 60, over_limit = ignoring)]
async fn ignored(body: Bytes) -> Bytes {
    body
}

async fn ignoring(state: RateLimitState) -> (String, StatusCode) {
    (state.limit().to_string(), StatusCode::TOO_MANY_REQUESTS)
}

fn echoes(config: &mut ServiceConfig) {
    config.route("/echo", web::post().to(echo)).route("/ignored", web::post().to(ignored));
}

#[test]
fn the_handler_has_the_whole_body_after_functions_that_leave_it_alone() {
    let server = Served::limited(&in_memory().0, echoes);
    for body in ["first", "second"] {
        let reply = post(&server, "/echo", "text/plain", body);
        assert_eq!((reply.status, reply.body.as_str()), (200, body));
    }
}

#[test]
fn an_over_limit_function_that_extracts_the_body_refuses_with_500() {
    let server = Served::limited(&in_memory().0, echoes);
    let replies = [1, 2, 3].map(|_| post(&server, "/echo", "text/plain", "abc"));
    assert_eq!(replies.each_ref().map(|reply| reply.status), [200, 200, 500]);
    assert_eq!(replies[2].x_headers().1, 0, "the request was counted, and refused");
    let replies = [1, 2].map(|_| post(&server, "/ignored", "text/plain", "abc"));
    assert_eq!(replies.map(|reply| reply.status), [200, 429]);
}

#[test]
fn the_log_names_handler_and_function_once() {
    let mut app = Process::start(Command::new(env!("CARGO_BIN_EXE_app")).env("APP_STORE", "memory://"));
    for _ in 0..3 {
        assert_eq!(app.get("/by-body").status, 500);
    }
    app.kill();
    let words = ["ERROR", "by_body", "first_of_body", "body"];
    assert_eq!(app.lines_with(&words), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["ERROR"]), 1, "{:#?}", app.output());
}
