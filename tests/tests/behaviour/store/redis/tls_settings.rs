//! TLS: the certificates that a limiter trusts, its own certificate, and the errors.

use std::fs;
use std::path::Path;
use std::process::Command;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use ratelimit_runtime::{Error, OnStoreError, RateLimiter, RateLimiterBuilder, ratelimit};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::certificates::{CERTIFICATE, KEY, MANY_NAMES, STRANGER, STRANGER_KEY};
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait::{self, PATIENCE};
use tempfile::TempDir;

#[ratelimit(limit = 100, per = FOREVER, scope = "global")]
async fn hundred() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get().to(hundred));
}

fn builder() -> RateLimiterBuilder {
    RateLimiter::builder().deadline(PATIENCE).on_store_error(OnStoreError::Deny)
}

/// A limiter with a short deadline, for connections that fail.
fn hasty() -> RateLimiterBuilder {
    RateLimiter::builder().on_store_error(OnStoreError::Deny)
}

fn serve(builder: RateLimiterBuilder, url: &str) -> Served {
    Served::limited_by(&builder.store(url).build().expect("a URL"), 1, routes)
}

/// A file that a test may replace.
fn copy(folder: &TempDir, name: &str, of: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    replace(&path, &fs::read(of).expect("a file"));
    path
}

/// Replaces the file as programs that renew certificates do.
fn replace(path: &Path, contents: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, contents).expect("a file that can be written");
    fs::rename(new, path).expect("a file that can be replaced");
}

/// Ends the connections, so that the next request opens another.
fn drop_connections(redis: &RedisServer) {
    redis.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    wait::until("nobody is connected", || redis.clients() == 0);
}

#[test]
fn an_own_authority_is_trusted_without_the_operating_system() {
    let redis = RedisServer::with_tls();
    assert_eq!(serve(builder().tls_ca_file(CERTIFICATE), &redis.url()).get("/").status, 200);
    assert_eq!(serve(hasty().tls_ca_file(STRANGER), &redis.url()).get("/").status, 503);
    assert_eq!(serve(hasty(), &redis.url()).get("/").status, 503);
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let redis = RedisServer::with_tls_for_clients_that_it_knows();
    let known = builder().tls_ca_file(CERTIFICATE).tls_client_certificate(CERTIFICATE, KEY);
    assert_eq!(serve(known, &redis.url()).get("/").status, 200);
    let unknown = hasty().tls_ca_file(CERTIFICATE).tls_client_certificate(STRANGER, STRANGER_KEY);
    assert_eq!(serve(unknown, &redis.url()).get("/").status, 503);
    assert_eq!(serve(hasty().tls_ca_file(CERTIFICATE), &redis.url()).get("/").status, 503);
}

#[test]
fn certificates_that_are_renewed_are_used_from_the_next_connection_on() {
    let redis = RedisServer::with_tls_for_clients_that_it_knows();
    let folder = TempDir::new().expect("a temporary folder");
    let ca = copy(&folder, "ca.pem", STRANGER);
    let (certificate, key) = (copy(&folder, "client.pem", STRANGER), copy(&folder, "client.key", STRANGER_KEY));
    let limiter = hasty().tls_ca_file(&ca).tls_client_certificate(&certificate, &key);
    let server = serve(limiter, &redis.url());
    assert_eq!(server.get("/").status, 503);
    copy(&folder, "ca.pem", CERTIFICATE);
    copy(&folder, "client.pem", CERTIFICATE);
    copy(&folder, "client.key", KEY);
    wait::until("the new certificates are used", || server.get("/").status == 200);
}

#[test]
fn certificates_in_the_middle_of_a_rotation_count_as_they_were() {
    let redis = RedisServer::with_tls_for_clients_that_it_knows();
    let folder = TempDir::new().expect("a temporary folder");
    let ca = copy(&folder, "ca.pem", CERTIFICATE);
    let (certificate, key) = (copy(&folder, "client.pem", CERTIFICATE), copy(&folder, "client.key", KEY));
    let server = serve(builder().tls_ca_file(&ca).tls_client_certificate(&certificate, &key), &redis.url());
    assert_eq!(server.get("/").status, 200);
    let half_done: [&dyn Fn(); 4] = [
        // The certificate of another key.
        &|| drop(copy(&folder, "client.pem", STRANGER)),
        &|| replace(&key, b"-----BEGIN PRIVATE KEY-----"),
        &|| fs::remove_file(&certificate).expect("a file"),
        &|| replace(&ca, b""),
    ];
    for (step, do_half) in half_done.iter().enumerate() {
        do_half();
        drop_connections(&redis);
        assert_eq!(server.get("/").status, 200, "step {step}");
    }
}

#[test]
fn a_certificate_for_another_name_is_taken_where_that_name_is_given() {
    let redis = RedisServer::with_tls();
    let url = redis.url().replace("127.0.0.1", "localhost");
    assert_eq!(serve(hasty().tls_ca_file(CERTIFICATE), &url).get("/").status, 503);
    let named = builder().tls_ca_file(CERTIFICATE).tls_server_name("127.0.0.1");
    assert_eq!(serve(named, &url).get("/").status, 200);
    let misnamed = hasty().tls_ca_file(CERTIFICATE).tls_server_name("redis.example.com");
    assert_eq!(serve(misnamed, &redis.url()).get("/").status, 503);
}

#[test]
fn sentinels_without_tls_lead_to_a_server_with_tls() {
    let redis = RedisServer::with_tls();
    let sentinel = RedisServer::plain_sentinel_of(&redis, "main");
    let url = format!("rediss+sentinel://{}/main", sentinel.address());
    let server = serve(builder().tls_ca_file(CERTIFICATE), &format!("{url}?sentinel_tls=false"));
    assert_eq!(server.get("/").status, 200);
    assert_eq!(redis.keys().len(), 1);
    assert_eq!(serve(hasty().tls_ca_file(CERTIFICATE), &url).get("/").status, 503);
}

#[test]
fn the_provider_of_cryptography_is_the_applications_to_install() {
    let redis = RedisServer::with_tls();
    let server = serve(builder().tls_ca_file(CERTIFICATE), &redis.url());
    assert_eq!(server.get("/").status, 200);
    let installed = rustls::crypto::ring::default_provider().install_default();
    assert!(installed.is_ok(), "something else has installed a provider");
    drop_connections(&redis);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_file_that_cannot_be_used_is_named_at_the_start() {
    let folder = TempDir::new().expect("a temporary folder");
    let missing = folder.path().join("missing.pem");
    let (empty, endless) = (copy(&folder, "empty.pem", "/dev/null"), folder.path().join("endless.pem"));
    std::os::unix::fs::symlink("/dev/zero", &endless).expect("a link");
    let secret = folder.path().join("secret.pem");
    let key = fs::read_to_string(KEY).expect("a key");
    let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    for (authority, certificate, key, setting, named) in [
        (&*missing, CERTIFICATE.as_ref(), KEY.as_ref(), "tls_ca_file", "missing.pem"),
        (&*empty, CERTIFICATE.as_ref(), KEY.as_ref(), "tls_ca_file", "empty.pem"),
        (&*endless, CERTIFICATE.as_ref(), KEY.as_ref(), "tls_ca_file", "endless.pem"),
        (KEY.as_ref(), CERTIFICATE.as_ref(), KEY.as_ref(), "tls_ca_file", "key.pem"),
        (CERTIFICATE.as_ref(), &*missing, KEY.as_ref(), "tls_client_certificate", "missing.pem"),
        (CERTIFICATE.as_ref(), &*empty, KEY.as_ref(), "tls_client_certificate", "empty.pem"),
        (CERTIFICATE.as_ref(), CERTIFICATE.as_ref(), &*missing, "tls_client_certificate", "missing.pem"),
        (CERTIFICATE.as_ref(), CERTIFICATE.as_ref(), CERTIFICATE.as_ref(), "tls_client_certificate", "certificate.pem"),
        (
            CERTIFICATE.as_ref(),
            CERTIFICATE.as_ref(),
            STRANGER_KEY.as_ref(),
            "tls_client_certificate",
            "stranger_key.pem",
        ),
        (CERTIFICATE.as_ref(), CERTIFICATE.as_ref(), &*secret, "tls_client_certificate", "secret.pem"),
    ] as [(&Path, &Path, &Path, &str, &str); 10]
    {
        // Keys in one line, as from an environment variable, under a password, and broken.
        for text in [
            format!("-----BEGIN PRIVATE KEY-----{body}-----END PRIVATE KEY-----"),
            format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----"),
            format!("-----BEGIN PRIVATE KEY-----\n{body}!\n-----END PRIVATE KEY-----"),
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", &body[..40]),
        ] {
            replace(&secret, text.as_bytes());
            let limiter = builder().tls_ca_file(authority).tls_client_certificate(certificate, key);
            let error = limiter.store("rediss://127.0.0.1/").build().expect_err(named);
            assert!(matches!(&error, Error::Tls { setting: told, .. } if *told == setting), "{error}");
            let error = error.to_string();
            assert!(error.contains(named), "{error}");
            assert!(!error.contains(&body[8..16]), "{error}");
        }
    }
}

#[test]
fn a_server_name_that_is_none_is_an_error_at_the_start() {
    for name in ["", "redis.example.com:6380", "rediss://redis.example.com"] {
        let error = builder().tls_server_name(name).store("rediss://127.0.0.1/").build().expect_err(name);
        assert!(matches!(&error, Error::Tls { setting: "tls_server_name", .. }), "{error}");
    }
}

/// The `app`, with the certificates of the operating system that these variables name.
fn app(url: &str, trusted: &[(&str, &Path)]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny").env("APP_DEADLINE_MS", "3000");
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    Process::start(command.envs(trusted.iter().copied()))
}

#[test]
fn a_broken_certificate_of_the_operating_system_is_passed_over_with_one_warning() {
    let redis = RedisServer::with_tls();
    let folder = TempDir::new().expect("a temporary folder");
    copy(&folder, "good.pem", CERTIFICATE);
    fs::write(folder.path().join("broken.pem"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(folder.path().join("odd.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let mut app = app(&redis.url(), &[("SSL_CERT_DIR", folder.path())]);
    for _ in 0..3 {
        assert_eq!(app.get("/work").status, 200);
        drop_connections(&redis);
    }
    app.kill();
    assert_eq!(app.lines_with(&["WARN", "TLS", "2 entries"]), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["WARN"]) + app.lines_with(&["ERROR"]), 1, "{:#?}", app.output());
}

#[test]
fn settings_of_tls_with_a_url_without_tls_are_logged() {
    let redis = RedisServer::on_port();
    let mut app = app(&redis.url(), &[("APP_CA_FILE", CERTIFICATE.as_ref())]);
    assert_eq!(app.get("/work").status, 200);
    app.kill();
    assert_eq!(app.lines_with(&["WARN", "TLS", "rediss://"]), 1, "{:#?}", app.output());
}

#[test]
fn a_broken_certificate_file_is_logged_once() {
    let redis = RedisServer::with_tls();
    let folder = TempDir::new().expect("a temporary folder");
    let ca = copy(&folder, "ca.pem", CERTIFICATE);
    let mut app = app(&redis.url(), &[("APP_CA_FILE", &ca)]);
    for (contents, warnings) in [("", 1), (" ", 1), ("good", 1), ("", 2)] {
        assert_eq!(app.get("/work").status, 200);
        match contents {
            "good" => drop(copy(&folder, "ca.pem", CERTIFICATE)),
            contents => replace(&ca, contents.as_bytes()),
        }
        for _ in 0..3 {
            drop_connections(&redis);
            assert_eq!(app.get("/work").status, 200);
        }
        assert_eq!(app.lines_with(&["WARN", "TLS: tls_ca_file", "ca.pem"]), warnings, "{:#?}", app.output());
    }
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]), 0, "{:#?}", app.output());
}

#[test]
fn the_certificates_of_the_operating_system_are_read_once_in_a_process() {
    let redis = RedisServer::with_tls();
    let folder = TempDir::new().expect("a temporary folder");
    let trusted = copy(&folder, "trusted.pem", CERTIFICATE);
    let app = app(&redis.url(), &[("SSL_CERT_FILE", &trusted)]);
    assert_eq!(app.get("/work").status, 200);
    fs::remove_file(trusted).expect("a file");
    for _ in 0..3 {
        drop_connections(&redis);
        assert_eq!(app.get("/work").status, 200);
    }
}

#[test]
fn certificates_of_the_operating_system_that_come_later_are_found() {
    let redis = RedisServer::with_tls();
    let folder = TempDir::new().expect("a temporary folder");
    let trusted = folder.path().join("trusted.pem");
    let mut app = app(&redis.url(), &[("SSL_CERT_FILE", &trusted)]);
    assert_eq!(app.get("/work").status, 503);
    copy(&folder, "trusted.pem", CERTIFICATE);
    wait::until("the certificates are found", || app.get("/work").status == 200);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "TLS", "tls_ca_file"]), 1, "{:#?}", app.output());
}

#[test]
fn a_failed_handshake_is_logged_with_advice() {
    let (with_tls, demanding) = (RedisServer::with_tls(), RedisServer::with_tls_for_clients_that_it_knows());
    let (plain, many_names) = (RedisServer::on_port(), RedisServer::with_many_names());
    let by_name = with_tls.url().replace("127.0.0.1", "localhost");
    let to_plain = plain.url().replace("redis:", "rediss:");
    for (url, trusted, told) in [
        (with_tls.url(), STRANGER, "tls_ca_file"),
        (by_name, CERTIFICATE, "tls_server_name"),
        (many_names.url(), MANY_NAMES, "tls_server_name"),
        (demanding.url(), CERTIFICATE, "tls_client_certificate"),
        (to_plain, CERTIFICATE, "does the server speak TLS"),
    ] {
        let mut app = app(&url, &[("SSL_CERT_FILE", trusted.as_ref())]);
        assert_eq!(app.get("/work").status, 503, "{url}");
        app.kill();
        assert_eq!(app.lines_with(&["ERROR", "TLS", told]), 1, "{told}: {:#?}", app.output());
        assert!(app.output().iter().all(|line| line.len() < 1000), "{:#?}", app.output());
    }
}
