//! An application that dies leaves no counter without an expiry, at whatever point it dies.

use std::thread;

use actix_web::{HttpResponse, Responder, web};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Connection, Server, request};
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;

use crate::{alone, app};

/// Makes the application create new counters, and kills it after this many answers.
fn kill_after(mut app: Process, answers: usize, round: usize) {
    let address = app.address();
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let connection = Connection::open(address);
            thread::spawn(move || make_counters(connection, &format!("{round}-{client}")))
        })
        .collect();
    let mut connection = Connection::open(address);
    for answer in 0..answers {
        connection.ask("GET", "/each", &[("X-Id", &format!("{round}-{answer}"))]);
    }
    app.kill();
    for client in clients {
        client.join().expect("a client");
    }
}

/// Sends twenty requests at a time, each for a new counter, until the application is gone.
fn make_counters(mut connection: Connection, name: &str) {
    for batch in 0.. {
        let one = |index| request("GET", "/each", &[("X-Id", &format!("{name}-{batch}-{index}"))]);
        let some: String = (0..20).map(one).collect();
        if connection.try_send(&some).is_err() || (0..20).any(|_| connection.try_reply().is_err()) {
            return;
        }
    }
}

#[test]
fn an_application_killed_a_hundred_times_leaves_no_counter_without_an_expiry() {
    let _alone = alone();
    let redis = RedisServer::on_socket();
    let url = redis.url();
    for round in 0..100 {
        kill_after(app(&[("APP_STORE", &url)]), round * 7 % 60, round);
        assert_eq!(redis.keys_without_expiry(), [""; 0], "in round {round}");
    }
    assert!(redis.ask::<usize>(&["DBSIZE"]) > 1000, "too few counters to mean anything");
}

#[ratelimit(limit = 10, per = FOREVER, scope = "global")]
async fn counted() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_connection_cut_after_any_byte_leaves_no_counter_without_an_expiry() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let mut cuts = 0;
    for bytes in (0..4000).step_by(53) {
        // Then the first request of a connection sends the greeting, the check, and the script itself.
        redis.ask::<()>(&["SCRIPT", "FLUSH"]);
        redis.ask::<()>(&["FLUSHALL"]);
        let proxy = Proxy::to(redis.address());
        proxy.cut_after_request_bytes(bytes);
        let limiter =
            RateLimiter::builder().on_store_error(OnStoreError::Allow).store(proxy.url()).build().expect("a URL");
        let server = Served::limited_by(&limiter, 1, |config| {
            config.route("/", web::get().to(counted));
        });
        assert_eq!(server.statuses("/", 2), [200, 200], "cut after {bytes} bytes");
        assert_eq!(redis.keys_without_expiry(), [""; 0], "cut after {bytes} bytes");
        cuts += usize::from(proxy.has_cut());
    }
    assert!(cuts > 10, "only {cuts} connections were cut");
}
