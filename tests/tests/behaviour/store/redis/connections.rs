//! How the Redis store connects, and stays connected.

use std::process::Command;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;
use ratelimit_tests::wait::{self, PATIENCE};

#[ratelimit(limit = 100, per = FOREVER)]
async fn by_ip() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/ip", web::get().to(by_ip));
}

/// A limiter with a long deadline, because these tests are not about deadlines.
fn patient() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE)
}

fn serve(limiter: RateLimiterBuilder, url: &str) -> Served {
    Served::limited(&limiter.store(url).build().expect("a URL"), routes)
}

#[test]
fn each_worker_has_one_connection_and_keeps_it() {
    let redis = RedisServer::on_port();
    let proxy = Proxy::to(redis.address());
    let limiter = patient().store(proxy.url()).build().expect("a URL");
    let server = Served::limited_by(&limiter, 3, routes);
    assert_eq!(proxy.accepted(), 0, "a connection before the first request");
    for _ in 0..60 {
        assert_eq!(server.get("/ip").status, 200);
    }
    assert_eq!(proxy.accepted(), 3);
}

#[test]
fn a_database_and_a_password_of_the_url_are_used() {
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let url = format!("redis://app:secret@{}/3", redis.address());
    let server = serve(patient(), &url);
    assert_eq!(server.get("/ip").x_headers().1, 99);
    assert_eq!(redis.keys(), [""; 0], "a key in database 0");
    let keyspace: String = redis.ask(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db3:keys=1,expires=1"), "{keyspace}");
}

#[test]
fn a_wrong_password_is_named_in_the_log() {
    let redis = RedisServer::on_port();
    redis.ask::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    for (credentials, named) in [(":opensesame@", "opensesame"), ("app:opensesame@", "opensesame"), ("", "secret")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
        let url = format!("redis://{credentials}{}/", redis.address());
        let mut app = Process::start(command.env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny"));
        assert_eq!(app.get("/quote").status, 503);
        app.kill();
        assert_eq!(app.lines_with(&["ERROR", "store", "fails"]), 1, "{:#?}", app.output());
        crate::assert_names_the_password(&app, named);
    }
}

#[test]
fn a_store_that_is_not_up_yet_does_not_stop_the_application() {
    let mut redis = RedisServer::on_port();
    redis.kill();
    let server = serve(RateLimiter::builder(), &redis.url());
    assert_eq!(server.get("/ip").status, 200);
    redis.restart();
    wait::until("the application counts in the store", || {
        server.get("/ip");
        redis.keys().iter().any(|key| key.contains("by_ip"))
    });
}

#[test]
fn what_a_probe_writes_is_gone_within_a_minute() {
    let mut redis = RedisServer::on_port();
    redis.kill();
    let server = serve(RateLimiter::builder(), &redis.url());
    assert_eq!(server.get("/ip").status, 200);
    redis.restart();
    let probes = || redis.keys().into_iter().filter(|key| key.starts_with("rate-limit/probe/")).collect::<Vec<_>>();
    let (probes, _) = wait::until_some("the store is probed", || Some(probes()).filter(|probes| !probes.is_empty()));
    for probe in probes {
        let left: i64 = redis.ask(&["TTL", &probe]);
        assert!((0..=60).contains(&left), "{probe} is kept for {left} s more");
    }
}

#[test]
fn the_limiter_survives_the_servers_that_used_it() {
    let redis = RedisServer::on_socket();
    let limiter = patient().store(redis.url()).build().expect("a URL");
    for remaining in (95..100).rev() {
        let server = Served::limited(&limiter, routes);
        assert_eq!(server.get("/ip").x_headers().1, remaining);
    }
}

#[test]
fn the_connections_end_with_the_limiter() {
    let redis = RedisServer::on_socket();
    {
        let server = serve(patient(), &redis.url());
        server.get("/ip");
        assert_eq!(redis.clients(), 1);
    }
    wait::until("nobody is connected", || redis.clients() == 0);
}

#[test]
fn a_connection_that_redis_closed_while_it_was_idle_costs_the_next_request_nothing() {
    let redis = RedisServer::on_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.envs([("APP_STORE", &*redis.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
    let mut app = Process::start(command.env("APP_DEADLINE_MS", PATIENCE.as_millis().to_string()));
    let mut connection = app.open();
    let first = connection.get("/work").x_headers().1;
    for request in 1..=20 {
        let killed: u64 = redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(killed >= 1, "the application was not connected");
        if request % 2 == 0 {
            // Time for the application to see that the connection is closed.
            std::thread::sleep(Duration::from_millis(20));
        }
        let reply = connection.get("/work");
        assert_eq!(reply.status, 200, "request {request}: {reply:?}");
        assert_eq!(reply.x_headers().1, first - request, "request {request}");
    }
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]) + app.lines_with(&["WARN"]), 0, "{:#?}", app.output());
}

#[test]
fn what_is_said_unasked_is_no_answer_to_the_next_request() {
    let redis = RedisServer::on_port();
    let proxy = Proxy::to(redis.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.envs([("APP_STORE", &*proxy.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
    let mut app = Process::start(command.env("APP_DEADLINE_MS", PATIENCE.as_millis().to_string()));
    let mut connection = app.open();
    let first = connection.get("/work").x_headers().1;
    for request in 1..=5 {
        proxy.say(if request % 2 == 0 { "-ERR idle for too long\r\n" } else { "*3\r\n:1\r\n:2\r\n:3\r\n" });
        wait::until("the application gives the connection up", || proxy.open() == 0);
        let reply = connection.get("/work");
        assert_eq!((reply.status, reply.x_headers().1), (200, first - request), "request {request}: {reply:?}");
    }
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]) + app.lines_with(&["WARN"]), 0, "{:#?}", app.output());
}

#[test]
fn a_runtime_with_several_threads_is_answered_like_any_other() {
    let redis = RedisServer::on_socket();
    let limiter = patient().store(redis.url()).build().expect("a URL");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let looks = async move {
        let target = Target::new("a key", 9, FOREVER).global();
        for number in 0..2000 {
            // One after the other, so that only its own answer can wake a request.
            let look = tokio::time::timeout(PATIENCE / 2, target.peek(&limiter)).await.expect("an answer in time");
            assert_eq!(look.map(|peek| peek.remaining()), Ok(9), "look {number}");
        }
    };
    // On this thread, while the task that owns the connection is on another.
    runtime.expect("a runtime").block_on(looks);
}

/// The time until the kernel's next keep-alive, for each connection to `port`. `None` without keep-alive.
#[cfg(target_os = "linux")]
fn keepalive_timers(port: u16) -> Vec<Option<Duration>> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's list of connections");
    let server = format!(":{port:04X}");
    // A line has a number, the addresses of both ends, the state, the queues and the timer.
    let timer = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields[2].ends_with(&server) && fields[3] == "01").then(|| {
            let (kind, left) = fields[5].split_once(':').expect("a kind of timer, and its time");
            let left = u64::from_str_radix(left, 16).expect("hundredths of a second");
            (kind == "02").then(|| Duration::from_millis(left * 10))
        })
    };
    table.lines().skip(1).filter_map(timer).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_are_kept_alive() {
    let seconds = Duration::from_secs;
    for (limiter, expected) in [
        (patient(), Some(seconds(30))),
        (patient().tcp_keepalive(seconds(300)), Some(seconds(300))),
        (patient().tcp_keepalive(Duration::from_millis(1999)), Some(seconds(1))),
        (patient().tcp_keepalive(seconds(32_767)), Some(seconds(32_767))),
        (patient().tcp_keepalive(Duration::ZERO), None),
    ] {
        let redis = RedisServer::on_port();
        let server = serve(limiter, &redis.url());
        server.get("/ip");
        // Another timer runs until the last reply is acknowledged.
        wait::until(&format!("the connection is kept alive after {expected:?}"), || {
            let timers = keepalive_timers(redis.port());
            let is_expected = |timer: &Option<Duration>| match (timer, expected) {
                (Some(left), Some(expected)) => *left <= expected && *left + seconds(10) > expected,
                (timer, expected) => *timer == expected,
            };
            timers.len() == 1 && timers.iter().all(is_expected)
        });
    }
}
