//! Redis over TLS, with the certificates that the operating system trusts.

use std::process::Command;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::certificates::CERTIFICATE;
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_cluster::RedisCluster;
use ratelimit_tests::redis_sentinel::RedisSentinel;
use ratelimit_tests::redis_server::{RedisServer, Transport};
use ratelimit_tests::wait::PATIENCE;

#[ratelimit(limit = 3, per = FOREVER, scope = "global")]
async fn three() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get().to(three));
}

/// The `app`, in a system that trusts the certificates of this file.
fn app(url: &str, trusted: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny").env("APP_DEADLINE_MS", "20000");
    Process::start(command.env("SSL_CERT_FILE", trusted))
}

/// Asserts that two processes share a limit of three requests.
fn assert_shared(url: &str) {
    let apps = [(); 2].map(|()| app(url, CERTIFICATE));
    let statuses = [0, 1, 0, 1].map(|index: usize| apps[index].get("/quote").status);
    assert_eq!(statuses, [200, 200, 200, 429], "{:#?}", apps[0].output());
}

#[test]
fn processes_share_their_limits_over_tls() {
    let redis = RedisServer::with_tls();
    assert_shared(&redis.url());
    assert_eq!(redis.keys().len(), 1);
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_told_anything() {
    let redis = RedisServer::with_tls();
    let mut app = app(&redis.url(), "/dev/null");
    assert_eq!(app.get("/quote").status, 503);
    assert_eq!(redis.keys(), [""; 0]);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "store", "fails"]), 1, "{:#?}", app.output());
}

#[test]
fn processes_share_their_limits_in_a_cluster_over_tls() {
    let cluster = RedisCluster::with(Transport::Tls, &["requirepass secret"]);
    assert_shared(&cluster.url_as(":secret@"));
    assert_eq!(cluster.keys().len(), 1);
}

#[test]
fn a_cluster_that_nobody_vouches_for_is_not_told_anything() {
    let cluster = RedisCluster::with(Transport::Tls, &[]);
    assert_eq!(app(&cluster.url(), "/dev/null").get("/quote").status, 503);
    assert_eq!(cluster.keys(), [""; 0]);
}

#[test]
fn processes_share_their_limits_behind_sentinel_over_tls() {
    let sentinel = RedisSentinel::with(Transport::Tls, &["requirepass secret"], &["requirepass hush"]);
    assert_shared(&sentinel.url_as(":secret@", "?sentinel_password=hush"));
    assert_eq!(sentinel.current().keys().len(), 1);
}

#[test]
fn sentinels_that_nobody_vouches_for_are_not_told_anything() {
    let sentinel = RedisSentinel::with(Transport::Tls, &[], &[]);
    assert_eq!(app(&sentinel.url(), "/dev/null").get("/quote").status, 503);
    assert_eq!(sentinel.current().keys(), [""; 0]);
}

/// Like Azure: the certificate is for one name, and nodes announce addresses.
#[test]
fn nodes_whose_certificates_are_not_for_what_they_announce_are_reached_by_the_name_that_is_set() {
    let cluster = RedisCluster::with(Transport::Tls, &["bind 127.0.0.1 127.0.0.2", "cluster-announce-ip 127.0.0.2"]);
    let serve = |builder: RateLimiterBuilder| {
        let builder = builder.on_store_error(OnStoreError::Deny).tls_ca_file(CERTIFICATE);
        Served::limited_by(&builder.store(cluster.url()).build().expect("a URL"), 1, routes)
    };
    assert_eq!(serve(RateLimiter::builder()).get("/").status, 503);
    let server = serve(RateLimiter::builder().deadline(PATIENCE).tls_server_name("127.0.0.1"));
    assert_eq!(server.get("/").status, 200);
    assert_eq!(cluster.keys().len(), 1);
}
