//! A store that answers probes, and fails when it has to count.

use std::thread;
use std::time::{Duration, Instant};

use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::{Proxy, Refusal};
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

use crate::{alone, app};

/// The time for which the store flaps.
const TIME: Duration = Duration::from_secs(5);

/// Blocks all checks, but no connections and probes. Returns the number of connections that the application opens
/// meanwhile.
fn flap(app: &Process, proxy: &Proxy, refusal: Refusal, pause: Duration) -> usize {
    proxy.refuse("/global/", refusal);
    let before = proxy.accepted();
    let (start, mut connection) = (Instant::now(), app.open());
    while start.elapsed() < TIME {
        assert_eq!(connection.get("/work").status, 503);
        thread::sleep(pause);
    }
    proxy.accepted() - before
}

fn assert_flapping_is_quiet(refusal: Refusal, pause: Duration) {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let proxy = Proxy::to(redis.address());
    let mut app = app(&[("APP_STORE", &proxy.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")]);
    wait::until("the application counts in the store", || app.get("/work").status == 200);
    let connections = flap(&app, &proxy, refusal, pause);
    assert!((2..=40).contains(&connections), "{connections} connections in {TIME:?}");
    assert!(redis.keys().iter().any(|key| key.contains("/probe/")), "the store was not probed: {:?}", redis.keys());
    proxy.heal();
    wait::until("the store is used", || app.get("/work").status == 200);
    wait::until("the log says that it is over", || app.lines_with(&["is back"]) == 1);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]), 1, "{:#?}", app.output());
}

#[test]
fn a_store_that_ends_the_connection_at_each_check_is_left_alone() {
    assert_flapping_is_quiet(Refusal::Cut, Duration::ZERO);
}

#[test]
fn a_store_that_ends_the_connection_at_each_check_now_and_then_is_left_alone() {
    assert_flapping_is_quiet(Refusal::Cut, Duration::from_millis(300));
}

#[test]
fn a_store_that_answers_probes_and_no_checks_is_left_alone() {
    assert_flapping_is_quiet(Refusal::Lost, Duration::ZERO);
}
