//! Redis behind Sentinel: the primary is the one that the sentinels name.

use std::process::Command;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::Transport;
use ratelimit_tests::wait::{self, PATIENCE};

use crate::{APP_PRIVILEGES, SENTINEL_PRIVILEGES};

#[ratelimit(limit = 3, per = FOREVER)]
async fn three() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(limit = 5, per = FOREVER, scope = "header:x-a")]
#[ratelimit(limit = 1, per = FOREVER, scope = "header:x-b")]
async fn two_scopes() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/three", web::get().to(three)).route("/two-scopes", web::get().to(two_scopes));
}

fn serve(url: &str) -> Served {
    let limiter = RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny);
    Served::limited(&limiter.store(url).build().expect("a URL"), routes)
}

#[test]
fn servers_share_a_limit_and_rules_of_any_scopes_are_decided_together() {
    let sentinel = RedisSentinel::start();
    let [here, there] = &[serve(&sentinel.url()), serve(&sentinel.url())];
    for (server, remaining) in [(here, 2), (there, 1), (here, 0)] {
        assert_eq!(server.get("/three").x_headers().1, remaining);
    }
    assert_eq!([here, there].map(|server| server.get("/three").status), [429, 429]);
    let status = |server: &Served, b: &str| server.get_with("/two-scopes", &[("X-A", "a"), ("X-B", b)]).status;
    assert_eq!([status(here, "1"), status(there, "1"), status(here, "1")], [200, 429, 429]);
    assert_eq!(["2", "3", "4", "5", "6"].map(|b| status(there, b)), [200, 200, 200, 200, 429]);
    let keys = sentinel.current().keys();
    assert!(keys.iter().any(|key| key.contains("/ip:127.0.0.1/")), "{keys:?}");
    assert_eq!(sentinel.current().keys_without_expiry(), [""; 0]);
}

#[test]
fn a_sentinel_that_is_down_is_passed_over() {
    let mut sentinel = RedisSentinel::start();
    let url = sentinel.url();
    sentinel.sentinels()[0].kill();
    assert_eq!(serve(&url).get("/three").x_headers().1, 2);
    sentinel.sentinels()[1].kill();
    assert_eq!(serve(&url).get("/three").x_headers().1, 1);
}

#[test]
fn a_sentinel_that_does_not_answer_is_passed_over() {
    let mut sentinel = RedisSentinel::start();
    let url = sentinel.url();
    sentinel.sentinels()[0].pause();
    let server = serve(&url);
    assert_eq!(server.get("/three").x_headers().1, 2);
    sentinel.sentinels()[0].resume();
}

#[test]
fn the_counters_go_on_at_the_replica_that_is_promoted() {
    let sentinel = RedisSentinel::start();
    let server = serve(&sentinel.url());
    assert_eq!(server.get("/three").x_headers().1, 2);
    let replica = || sentinel.server(1).keys().len() + sentinel.server(2).keys().len();
    wait::until("the replicas have the counter", || replica() == 2);
    sentinel.fail_over();
    let promoted = sentinel.wait_for_promotion(0);
    wait::until("the old primary is a replica", || {
        sentinel.server(0).info(&["INFO", "replication"], "role").as_deref() == Some("slave")
    });
    // Until now, a worker may have used the old primary, and its counts there are lost.
    let passed = || (server.get("/three").status == 200) as u64;
    let held = || -> u64 {
        sentinel.server(promoted).keys().iter().map(|key| sentinel.server(promoted).ask::<u64>(&["GET", key])).sum()
    };
    wait::until("both workers count at the new primary", || {
        let before = held();
        passed() == held() - before && before == 3
    });
    assert_eq!(server.statuses("/three", 4), [429; 4]);
    assert_eq!(sentinel.server(promoted).keys_without_expiry(), [""; 0]);
}

#[test]
fn users_need_no_more_than_these_privileges() {
    let user = format!("user app on >secret ~rate-limit/* -@all {APP_PRIVILEGES}");
    let watcher = format!("user watcher on >hush -@all {SENTINEL_PRIVILEGES}");
    let off = "user default off";
    let sentinel = RedisSentinel::with(Transport::Tcp, &[off, &user], &[off, &watcher]);
    let url = sentinel.url_as("app:secret@", "?sentinel_user=watcher&sentinel_password=hush");
    let server = serve(&url);
    assert_eq!(server.statuses("/three", 4), [200, 200, 200, 429]);
    let pair = [("X-A", "a"), ("X-B", "b")];
    assert_eq!([(); 2].map(|()| server.get_with("/two-scopes", &pair).status), [200, 429]);
}

#[test]
fn passwords_and_the_database_of_the_url_are_used() {
    let sentinel = RedisSentinel::with(Transport::Tcp, &["requirepass secret"], &["requirepass hush"]);
    let server = serve(&sentinel.url_as(":secret@", "/3?sentinel_password=hush"));
    assert_eq!(server.statuses("/three", 4), [200, 200, 200, 429]);
    assert_eq!(sentinel.current().keys(), [""; 0], "a key in database 0");
    let keyspace: String = sentinel.current().ask(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db3:keys=1,expires=1"), "{keyspace}");
}

#[test]
fn behind_sentinels_a_wrong_password_is_named_in_the_log() {
    let sentinel = RedisSentinel::with(Transport::Tcp, &["requirepass secret"], &["requirepass hush"]);
    for (credentials, end) in
        [(":opensesame@", "?sentinel_password=hush"), (":secret@", "?sentinel_password=opensesame")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
        command.env("APP_STORE", sentinel.url_as(credentials, end)).env("APP_ON_STORE_ERROR", "deny");
        let mut app = Process::start(&mut command);
        assert_eq!(app.get("/quote").status, 503);
        wait::until("the failure is logged", || app.lines_with(&["ERROR", "store", "fails"]) > 0);
        app.kill();
        crate::assert_names_the_password(&app, "opensesame");
    }
}

#[test]
fn a_name_that_no_sentinel_knows_is_named_in_the_log() {
    let sentinel = RedisSentinel::start();
    let url = sentinel.url().replace("/main", "/nobody");
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny");
    let mut app = Process::start(&mut command);
    assert_eq!(app.get("/quote").status, 503);
    wait::until("the failure is logged", || app.lines_with(&["ERROR", "store", "fails"]) > 0);
    app.kill();
    assert!(app.lines_with(&["ERROR", "nobody"]) > 0, "{:#?}", app.output());
}
