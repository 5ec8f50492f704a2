//! The default answer to a request over its limit. It touches nothing of the request.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use actix_web::dev::Payload;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::ratelimit;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server, request};
use serde_json::Value;

use crate::{START, in_memory, window_end};

#[ratelimit(limit = 1, per = 60)]
async fn greeting() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 1, per = 60, scope = "global")]
async fn greeting_of_all() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 3, per = 60)]
#[ratelimit(limit = 1, per = 60, scope = "global")]
#[ratelimit(limit = 1, per = 3600)]
#[ratelimit(limit = 1, per = 60, over_limit = "allow")]
async fn many_rules() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 1, per = 60)]
async fn length(body: web::Bytes) -> String {
    body.len().to_string()
}

#[ratelimit(limit = 1, per = 60)]
async fn json(body: web::Json<u32>) -> String {
    body.to_string()
}

static EXTRACTED: AtomicUsize = AtomicUsize::new(0);
static ENTERED: AtomicUsize = AtomicUsize::new(0);

/// An extractor that records its runs, and reads the body.
struct Tell;

impl FromRequest for Tell {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(_: &HttpRequest, body: &mut Payload) -> Self::Future {
        EXTRACTED.fetch_add(1, SeqCst);
        drop(body.take());
        ready(Ok(Self))
    }
}

#[ratelimit(limit = 2, per = 60)]
async fn telling(_: Tell, _: Tell) -> impl Responder {
    ENTERED.fetch_add(1, SeqCst);
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/greeting", web::get().to(greeting)).route("/greeting", web::head().to(greeting));
    config.route("/greeting-of-all", web::get().to(greeting_of_all)).route("/many-rules", web::get().to(many_rules));
    config.route("/length", web::post().to(length)).route("/json", web::post().to(json));
    config.route("/telling", web::post().to(telling)).route("/free", web::get().to(|| async { "free" }));
}

fn serve() -> Served {
    Served::limited(&in_memory().0, routes)
}

fn post(connection: &mut Connection, path: &str, body: &str) -> u16 {
    let length = body.len().to_string();
    let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
    connection.send(&(request("POST", path, &headers) + body));
    connection.reply().status
}

#[test]
fn the_refusal_is_a_problem_that_nobody_stores() {
    let server = serve();
    assert_eq!(server.get("/greeting").body, "hello");
    let reply = server.get("/greeting");
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.number("retry-after"), window_end(START, 60) - START);
    let problem: Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["status"], 429);
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
}

#[test]
fn the_refusal_names_the_rules_that_refuse_and_no_other() {
    // One worker, which runs one handler after the other.
    let server = Served::limited_by(&in_memory().0, 1, routes);
    let mut connection = server.open();
    for status in [200, 429] {
        for (path, violated) in [
            ("/greeting", &["ip:1/60s"][..]),
            ("/greeting-of-all", &["global:1/60s"]),
            ("/many-rules", &["global:1/60s", "ip:1/3600s"]),
        ] {
            let reply = connection.get(path);
            assert_eq!(reply.status, status, "{path}");
            if status == 429 {
                let problem: Value = serde_json::from_str(&reply.body).expect("JSON");
                assert_eq!(problem["violated-policies"], serde_json::json!(violated), "{path}");
                let wait = format!("Try again in {} s.", reply.number("retry-after"));
                assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with(&wait)), "{path}: {problem}");
            }
        }
    }
}

#[test]
fn a_refused_request_body_is_never_waited_for() {
    let server = serve();
    assert_eq!(post(&mut server.open(), "/length", "123"), 200);
    for headers in [("Content-Length", "1000000"), ("Transfer-Encoding", "chunked")] {
        let mut connection = server.open();
        // The rest of this body never comes.
        connection.send(&request("POST", "/length", &[headers]));
        assert_eq!(connection.reply().status, 429, "{headers:?}");
    }
}

/// Actix sends the `100 Continue` before it calls the application.
#[test]
fn an_expectation_is_refused_right_behind_the_100_without_the_body() {
    let server = serve();
    let expectation = request("POST", "/length", &[("Content-Length", "3"), ("Expect", "100-continue")]);
    let mut connection = server.open();
    connection.send(&expectation);
    assert_eq!(connection.reply().status, 100);
    connection.send("123");
    let reply = connection.reply();
    assert_eq!((reply.status, reply.body.as_str()), (200, "3"));

    let mut connection = server.open();
    connection.send(&expectation);
    assert_eq!(connection.reply().status, 100);
    let refusal = connection.reply();
    assert_eq!((refusal.status, refusal.header("connection")), (429, Some("close")));
    assert!(connection.is_closed());
}

#[test]
fn no_extractor_runs_for_a_refused_request() {
    let server = serve();
    let statuses: Vec<_> = (0..5).map(|_| post(&mut server.open(), "/telling", "123")).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
    assert_eq!(ENTERED.load(SeqCst), 2, "the handler ran for a refused request");
    assert_eq!(EXTRACTED.load(SeqCst), 4, "an extractor ran for a refused request");
}

#[test]
fn a_malformed_body_is_refused_as_any_other_and_is_counted_as_any_other() {
    let server = serve();
    assert_eq!(post(&mut server.open(), "/json", "{"), 400);
    assert_eq!(post(&mut server.open(), "/json", "{"), 429);
    assert_eq!(post(&mut server.open(), "/json", "5"), 429);
}

#[test]
fn a_connection_stays_open_after_a_refusal() {
    let server = serve();
    let mut connection = server.open();
    assert_eq!(connection.get("/greeting").status, 200);
    for _ in 0..3 {
        assert_eq!(connection.get("/greeting").status, 429);
        assert_eq!(connection.get("/free").body, "free");
    }
}

/// Actix closes a connection with an unread body, and announces that.
#[test]
fn a_refused_body_is_never_taken_for_a_request() {
    let server = serve();
    assert_eq!(post(&mut server.open(), "/length", "123"), 200);
    let mut connection = server.open();
    let body = request("GET", "/free", &[]);
    let length = body.len().to_string();
    connection.send(&(request("POST", "/length", &[("Content-Length", &length)]) + &body));
    let refusal = connection.reply();
    assert_eq!(refusal.status, 429);
    if refusal.header("connection") == Some("close") {
        assert!(connection.is_closed());
    } else {
        assert_eq!(connection.get("/free").body, "free");
    }
}

#[test]
fn pipelined_requests_are_each_answered_in_order() {
    let server = serve();
    let mut connection = server.open();
    let greeting = request("GET", "/greeting", &[]);
    let free = request("GET", "/free", &[]);
    connection.send(&[&*greeting, &greeting, &free, &greeting, &greeting, &free].concat());
    let statuses = [(); 6].map(|()| connection.reply().status);
    assert_eq!(statuses, [200, 429, 200, 429, 429, 200]);
    assert_eq!(connection.get("/free").body, "free");
}

#[test]
fn a_refused_head_has_headers_and_no_body() {
    let server = serve();
    let mut connection = server.open();
    assert_eq!(connection.ask("HEAD", "/greeting", &[]).status, 200);
    let reply = connection.ask("HEAD", "/greeting", &[]);
    assert_eq!(reply.status, 429);
    assert_eq!(reply.x_headers(), (1, 0, window_end(START, 60)));
    assert_eq!(connection.get("/free").body, "free", "what follows is no body");
}

#[test]
fn a_client_that_closes_after_a_refusal_is_let_go() {
    let server = serve();
    let mut connection = server.open();
    assert_eq!(connection.get("/greeting").status, 200);
    assert_eq!(connection.ask("GET", "/greeting", &[("Connection", "close")]).status, 429);
    assert!(connection.is_closed());
}
