//! Redis over TLS, with the certificates that the operating system trusts.

use std::process::Command;

use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_server::{CERTIFICATE, RedisServer};

/// The `app`, in a system that trusts the certificates of this file.
fn app(redis: &RedisServer, trusted: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", redis.url()).env("APP_ON_STORE_ERROR", "deny").env("APP_DEADLINE_MS", "20000");
    Process::start(command.env("SSL_CERT_FILE", trusted))
}

#[test]
fn processes_share_their_limits_over_tls() {
    let redis = RedisServer::with_tls();
    let apps = [(); 2].map(|()| app(&redis, CERTIFICATE));
    let statuses = [0, 1, 0, 1].map(|index: usize| apps[index].get("/quote").status);
    assert_eq!(statuses, [200, 200, 200, 429], "{:#?}", apps[0].output());
    assert_eq!(redis.keys().len(), 1);
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_told_anything() {
    let redis = RedisServer::with_tls();
    let mut app = app(&redis, "/dev/null");
    assert_eq!(app.get("/quote").status, 503);
    assert_eq!(redis.keys(), [""; 0]);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "store", "fails"]), 1, "{:#?}", app.output());
}
