//! Applications with clocks that are wrong or jump: Redis's clock decides the windows.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::proxy::Proxy;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;
use tempfile::TempDir;

use crate::exactness::{across_edges, assert_exact, patient};
use crate::{alone, app, app_command};

/// From Debian's package `faketime`. The loader replaces `$LIB`.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";

/// The system's clock as some applications see it.
struct SkewedClock(TempDir);

impl SkewedClock {
    fn new() -> Self {
        let clock = Self(TempDir::new().expect("a temporary folder"));
        clock.set("+0");
        clock
    }

    /// Sets the clock to the right time plus this offset, such as `-1h`.
    fn set(&self, offset: &str) {
        // In one step, because an application may read the file at any moment.
        let next = self.0.path().join("next");
        fs::write(&next, offset).expect("a file");
        fs::rename(next, self.0.path().join("offset")).expect("the file is replaced");
    }

    fn app(&self, settings: &[(&str, &str)]) -> Process {
        let mut command = app_command(settings);
        command.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", self.0.path().join("offset"));
        // Timers go by the monotonic clock, which nobody sets.
        Process::start(command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    }
}

/// The hour that an application writes into its answers.
fn hour(app: &Process) -> String {
    // `Tue, 24 Nov 2026 00:36:12 GMT`
    let reply = app.get("/work");
    reply.header("date").and_then(|date| date.get(17..19)).expect("a date").to_owned()
}

#[test]
fn applications_whose_clocks_are_an_hour_off_share_the_windows_of_redis() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let url = redis.url();
    let clocks = ["-1h", "+0", "+1h"].map(|offset| {
        let clock = SkewedClock::new();
        clock.set(offset);
        clock
    });
    let apps = clocks.each_ref().map(|clock| clock.app(&patient(&url)));
    wait::until("the clocks are an hour apart (the tests need libfaketime; Debian's package is faketime)", || {
        let [behind, right, ahead] = apps.each_ref().map(hour);
        behind != right && right != ahead && behind != ahead
    });
    assert_exact(&across_edges(&apps, "/edge"));
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn a_clock_that_jumps_under_load_changes_no_window() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let url = redis.url();
    let clock = SkewedClock::new();
    let apps = [clock.app(&patient(&url)), app(&patient(&url))];
    wait::until("the clock jumps (the tests need libfaketime; Debian's package is faketime)", || {
        clock.set("+1h");
        hour(&apps[0]) != hour(&apps[1])
    });
    let over = AtomicBool::new(false);
    let windows = thread::scope(|scope| {
        scope.spawn(|| {
            for offset in ["-1h", "+0", "+1h", "+0"].into_iter().cycle() {
                if over.load(SeqCst) {
                    return;
                }
                clock.set(offset);
                thread::sleep(Duration::from_millis(300));
            }
        });
        let windows = across_edges(&apps, "/edge");
        over.store(true, SeqCst);
        windows
    });
    assert_exact(&windows);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn an_application_whose_clock_is_wrong_stays_in_the_window_when_its_store_fails() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let url = redis.url();
    let clock = SkewedClock::new();
    let app = clock.app(&[("APP_STORE", &url), ("APP_DEADLINE_MS", "5000")]);
    clock.set("+1h");
    wait::until("the hour is not about to end", || redis.ask::<(u64, u64)>(&["TIME"]).0 % 3600 < 3580);
    let (time, _) = redis.ask::<(u64, u64)>(&["TIME"]);
    let reset = (time / 3600 + 1) * 3600;
    for remaining in (6..10).rev() {
        assert_eq!(app.get("/hourly").x_headers(), (10, remaining, reset));
    }
    redis.kill();
    for (offset, remaining) in [("+1h", 5), ("-1h", 4), ("+2h", 3)] {
        clock.set(offset);
        assert_eq!(app.get("/hourly").x_headers(), (10, remaining, reset), "the clock is {offset} off");
    }
}

#[test]
fn a_connection_that_was_forgotten_while_the_machine_was_suspended_is_replaced_quietly() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let proxy = Proxy::to(redis.address());
    let clock = SkewedClock::new();
    let settings = [("APP_STORE", &*proxy.url()), ("APP_ON_STORE_ERROR", "deny"), ("APP_WORKERS", "1")];
    let mut app = clock.app(&[&settings[..], &[("APP_DEADLINE_MS", "1000")]].concat());
    wait::until("the application counts in the store", || app.get("/work").status == 200);
    for offset in ["+1h", "+2h"] {
        assert_eq!(app.get("/work").status, 200);
        // The monotonic clock stops while a machine is suspended.
        proxy.forget_connections();
        clock.set(offset);
        assert_eq!(app.get("/work").status, 200);
    }
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]) + app.lines_with(&["WARN"]), 0, "{:#?}", app.output());
}
