//! `body = …`: rules whose functions extract the body, such as a login that is limited by user name and by address.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use actix_web::error::ErrorForbidden;
use actix_web::web::{self, Bytes, Form, Json, Path, ServiceConfig};
use actix_web::{Error, HttpResponse, Responder};
use ratelimit_runtime::{Policy, RateLimitState, Subject, policy, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Reply, Server, request};
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};
use serde::Deserialize;

use crate::in_memory;
use crate::store::each_store::Shared;

static BY_NAME: Policy = policy!("2/hour", scope = username, body = "1 KiB", key = "bodies: name");
static BY_ADDRESS: Policy = policy!("6/hour", key = "bodies: address");

#[derive(Deserialize)]
struct Login {
    username: String,
}

async fn username(login: Json<Login>) -> String {
    login.into_inner().username
}

async fn name_in_form(login: Form<Login>) -> Result<String, Error> {
    match login.into_inner().username {
        name if name == "banned" => Err(ErrorForbidden("not you")),
        name => Ok(name),
    }
}

async fn length(body: Bytes) -> usize {
    body.len()
}

/// By name and by address: five guesses at each name, from wherever, and so many of each client.
#[ratelimit(policy = BY_NAME)]
#[ratelimit(policy = BY_ADDRESS)]
async fn login(login: Json<Login>, state: RateLimitState) -> String {
    let left: Vec<_> = state.rules().map(|rule| rule.remaining().to_string()).collect();
    format!("{} {}", login.username, left.join(" "))
}

#[ratelimit("2/hour", scope = name_in_form, body = 1000, body_timeout = "1s")]
#[ratelimit("4/hour", scope = "global")]
async fn form(login: Form<Login>) -> String {
    login.into_inner().username
}

#[ratelimit("100/hour", scope = room, cost = length, body = "16 B")]
async fn upload(body: Bytes) -> Bytes {
    body
}

async fn room(path: Path<u32>) -> u32 {
    path.into_inner()
}

#[ratelimit("100/hour", scope = username, body = "16 B", count_if = rejected)]
#[ratelimit("100/hour", count_if = rejected, key = "bodies: rejected")]
async fn counted_if() -> impl Responder {
    HttpResponse::Ok()
}

fn rejected(response: &HttpResponse) -> bool {
    response.status().is_client_error()
}

static ENTERED: AtomicUsize = AtomicUsize::new(0);

#[ratelimit("1/hour")]
#[ratelimit("100/hour", scope = entering, body = "1 MiB")]
async fn unread() -> impl Responder {
    HttpResponse::Ok()
}

async fn entering(body: Bytes) -> usize {
    ENTERED.fetch_add(1, SeqCst);
    body.len()
}

struct Missing;

async fn without_its_data(login: Json<Login>, _: web::Data<Missing>) -> String {
    login.into_inner().username
}

#[ratelimit("100/hour", scope = without_its_data, body = "1 KiB")]
async fn missing() -> impl Responder {
    HttpResponse::Ok()
}

async fn price(login: Json<Login>) -> usize {
    login.username.len()
}

#[ratelimit("10/hour", cost = price, body = "1 KiB")]
async fn priced(_: Json<Login>) -> impl Responder {
    HttpResponse::Ok()
}

static BEFORE_A_PANIC: Policy = policy!("5/hour", key = "bodies: before a panic", scope = "global");

async fn panics(_: Bytes) -> String {
    panic!("on purpose");
}

#[ratelimit(policy = BEFORE_A_PANIC)]
#[ratelimit("5/hour", scope = panics, body = "1 KiB")]
async fn panicking() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/panicking", web::post().to(panicking));
    config.route("/missing", web::post().to(missing)).route("/priced", web::post().to(priced));
    config.route("/login", web::post().to(login)).route("/form", web::post().to(form));
    config.route("/upload/{room}", web::post().to(upload)).route("/unread", web::post().to(unread));
    config.route("/counted-if", web::post().to(counted_if));
}

fn post(server: &Served, path: &str, kind: &str, body: &str) -> Reply {
    let length = body.len().to_string();
    let mut connection = server.open();
    connection.send(&(request("POST", path, &[("Content-Type", kind), ("Content-Length", &length)]) + body));
    connection.reply()
}

fn login_as(server: &Served, name: &str) -> (u16, String) {
    let reply = post(server, "/login", "application/json", &format!(r#"{{"username":"{name}"}}"#));
    (reply.status, if reply.status == 200 { reply.body } else { String::new() })
}

fn both_are_one_decision(store: &Shared) {
    let address = Subject::new().ip([127, 0, 0, 1].into());
    let left = || store.wait_for(store.limiters[1].peek(&BY_ADDRESS, &address)).expect("a store").remaining();
    assert_eq!(login_as(&store.here, "alice"), (200, "alice 5 1".into()), "{}", store.name);
    assert_eq!(login_as(&store.there, "alice"), (200, "alice 4 0".into()), "{}", store.name);
    // The name refuses, and the address is refunded.
    for server in [&store.here, &store.there, &store.here] {
        assert_eq!(login_as(server, "alice").0, 429, "{}", store.name);
    }
    ratelimit_tests::wait::until("the refunds arrive", || left() == 4);
    assert_eq!(login_as(&store.here, "bob"), (200, "bob 3 1".into()), "{}", store.name);
    // Malformed bodies count for the address that sends them, under the name's limit too.
    for status in [400, 400, 429] {
        let reply = post(&store.here, "/login", "application/json", r#"{"usrname":"alice"}"#);
        assert_eq!(reply.status, status, "{}", store.name);
    }
    ratelimit_tests::wait::until("the refund arrives", || left() == 1);
    assert_eq!(login_as(&store.here, "carol"), (200, "carol 0 1".into()), "{}", store.name);
    // The address refuses, and the name is not counted.
    assert_eq!(login_as(&store.there, "carol").0, 429, "{}", store.name);
    let carol = Subject::new().part("username", "carol");
    let of_name = store.wait_for(store.limiters[1].peek(&BY_NAME, &carol)).expect("a store").remaining();
    assert_eq!(of_name, 1, "{}", store.name);
}

#[test]
fn a_login_is_limited_by_name_and_by_address_in_memory() {
    both_are_one_decision(&Shared::in_memory(routes));
}

#[cfg(feature = "redis")]
#[test]
fn a_login_is_limited_by_name_and_by_address_in_redis() {
    let redis = RedisServer::on_socket();
    both_are_one_decision(&Shared::in_redis(&redis, routes));
}

#[cfg(feature = "redis")]
#[test]
fn a_login_is_limited_by_name_and_by_address_in_a_cluster() {
    let cluster = RedisCluster::start();
    both_are_one_decision(&Shared::in_cluster(&cluster, routes));
}

#[test]
fn the_headers_speak_of_the_tightest_of_all_rules() {
    let server = Served::limited(&in_memory().0, routes);
    let form = |name: &str| {
        let reply = post(&server, "/form", "application/x-www-form-urlencoded", &format!("username={name}"));
        let (limit, remaining, _) = reply.x_headers();
        (reply.status, limit, remaining)
    };
    assert_eq!(form("alice"), (200, 2, 1));
    assert_eq!(form("alice"), (200, 2, 0));
    assert_eq!(form("alice"), (429, 2, 0));
    // The refused one was refunded, so two of four are gone before.
    assert_eq!(form("bob"), (200, 4, 1));
    assert_eq!(form("carol"), (200, 4, 0));
    assert_eq!(form("dave"), (429, 4, 0));
}

#[test]
fn what_fails_beside_the_body_is_no_malformed_body() {
    let server = Served::limited(&in_memory().0, routes);
    for name in ["alice", "bob"] {
        let reply = post(&server, "/missing", "application/json", &format!(r#"{{"username":"{name}"}}"#));
        assert_eq!((reply.status, reply.header("x-ratelimit-remaining")), (500, None), "{reply:?}");
    }
    let malformed = post(&server, "/missing", "application/json", "junk");
    assert_eq!(malformed.status, 200, "it counts for the address, and the handler needs no body");
}

#[test]
fn a_function_that_panics_on_the_body_leaves_nothing_counted() {
    let limiter = in_memory().0;
    let server = Served::limited(&limiter, routes);
    let mut connection = server.open();
    connection.send(&(request("POST", "/panicking", &[("Content-Length", "4")]) + "body"));
    assert!(connection.try_reply().is_err(), "the connection ends with the panic");
    let everybody = Subject::new();
    let left = actix_web::rt::System::new().block_on(limiter.peek(&BEFORE_A_PANIC, &everybody)).expect("memory");
    assert_eq!(left.remaining(), 5);
}

#[test]
fn a_malformed_body_costs_one() {
    let server = Served::limited(&in_memory().0, routes);
    let ask = |body: &str| {
        let reply = post(&server, "/priced", "application/json", body);
        (reply.status, reply.x_headers().1)
    };
    assert_eq!(ask(r#"{"username":"alice"}"#), (200, 5));
    assert_eq!([ask("junk"), ask("junk"), ask(r#"{"username":"bob"}"#)], [(400, 4), (400, 3), (200, 0)]);
    assert_eq!(ask("junk"), (429, 0));
}

#[test]
fn a_function_that_fails_answers_and_nothing_is_counted() {
    let server = Served::limited(&in_memory().0, routes);
    for _ in 0..6 {
        let reply = post(&server, "/form", "application/x-www-form-urlencoded", "username=banned");
        assert_eq!((reply.status, reply.body.as_str()), (403, "not you"));
    }
    assert_eq!(post(&server, "/form", "application/x-www-form-urlencoded", "username=alice").status, 200);
}

#[test]
fn the_handler_gets_the_bytes_that_the_functions_have_seen() {
    let server = Served::limited(&in_memory().0, routes);
    for (body, left) in [("", 100), ("sixteen bytes ok", 84), ("x", 83)] {
        let reply = post(&server, "/upload/7", "text/plain", body);
        assert_eq!((reply.status, reply.body.as_str(), reply.x_headers().1), (200, body, left));
    }
    // In pieces, as a slow client sends it.
    let mut connection = server.open();
    connection.send(&request("POST", "/upload/8", &[("Transfer-Encoding", "chunked")]));
    for piece in ["3\r\nabc\r\n", "2\r\nde\r\n", "0\r\n\r\n"] {
        connection.send(piece);
    }
    let reply = connection.reply();
    assert_eq!((reply.status, reply.body.as_str(), reply.x_headers().1), (200, "abcde", 95));
}

#[test]
fn a_longer_body_is_413_whether_or_not_it_says_so() {
    let server = Served::limited(&in_memory().0, routes);
    let reply = post(&server, "/upload/1", "text/plain", "seventeen bytes!!");
    assert_eq!((reply.status, reply.header("content-type")), (413, Some("application/problem+json")));
    let mut connection = server.open();
    connection.send(&request("POST", "/upload/1", &[("Transfer-Encoding", "chunked")]));
    connection.send("11\r\nseventeen bytes!!\r\n0\r\n\r\n");
    assert_eq!(connection.reply().status, 413);
    // What the rules before have counted stays, unless `count_if` says otherwise.
    let long = post(&server, "/form", "application/x-www-form-urlencoded", &"x".repeat(1001));
    assert_eq!((long.status, long.x_headers().1), (413, 3));
    let counted = post(&server, "/counted-if", "application/json", &"x".repeat(17));
    assert_eq!((counted.status, counted.x_headers().1), (413, 99));
}

#[test]
fn a_slow_body_is_408_within_the_timeout() {
    let server = Served::limited(&in_memory().0, routes);
    let mut connection = server.open();
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    connection.send(&request("POST", "/form", &[kind, ("Content-Length", "14")]));
    connection.send("username=");
    let start = Instant::now();
    let reply = connection.reply();
    assert_eq!((reply.status, reply.x_headers().1), (408, 3));
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn the_body_of_a_request_that_another_rule_refuses_is_not_read() {
    let server = Served::limited(&in_memory().0, routes);
    assert_eq!(post(&server, "/unread", "text/plain", "first").status, 200);
    let mut connection = Connection::open(server.address());
    // It promises a body, and sends none.
    connection.send(&request("POST", "/unread", &[("Content-Length", "1000")]));
    assert_eq!(connection.reply().status, 429);
    assert_eq!(ENTERED.load(SeqCst), 1);
}

#[test]
fn a_middleware_with_a_policy_that_reads_the_body_is_a_mistake_that_the_log_tells() {
    let mut app = Process::start(Command::new(env!("CARGO_BIN_EXE_app")).env("APP_STORE", "memory://"));
    for _ in 0..3 {
        assert_eq!(app.get("/body-in-middleware").status, 500);
    }
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "(RL026)", "`a body`"]), 1, "{:#?}", app.output());
}
