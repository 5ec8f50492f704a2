//! The source of a limiter, and the errors of a wrong set-up.

#[cfg(unix)]
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, Responder};
use ratelimit_runtime::{Error, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::target::Target;

use crate::in_memory;

#[ratelimit(limit = 1, per = 60)]
async fn once() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_limiter_may_be_wrapped_in_data() {
    let (limiter, _clock) = in_memory();
    let server = Served::start(move |listener| {
        let data = Data::new(limiter);
        let app = move || App::new().app_data(data.clone()).route("/", web::get().to(once));
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    assert_eq!(server.statuses("/", 2), [200, 429]);
}

#[test]
fn a_scope_of_the_application_may_have_a_limiter_of_its_own() {
    let ((outer, _), (inner, _)) = (in_memory(), in_memory());
    let server = Served::start(move |listener| {
        let app = move || {
            let inner = web::scope("/inner").app_data(inner.clone()).route("/", web::get().to(once));
            App::new().app_data(outer.clone()).service(inner).route("/", web::get().to(once))
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    assert_eq!(server.statuses("/", 2), [200, 429]);
    assert_eq!(server.statuses("/inner/", 2), [200, 429]);
}

#[ratelimit(limit = 9, per = 60, scope = "global", key = "forms")]
async fn nine() -> impl Responder {
    HttpResponse::Ok()
}

/// Puts a limiter into the data of an application or of a part of it.
type Form = fn(&mut ServiceConfig, RateLimiter);

/// In the order of the search.
const FORMS: [(&str, Form); 4] = [
    ("plain", |config, limiter| {
        config.app_data(limiter);
    }),
    ("Data", |config, limiter| {
        config.app_data(Data::new(limiter));
    }),
    ("Arc", |config, limiter| {
        config.app_data(Arc::new(limiter));
    }),
    ("Data of Arc", |config, limiter| {
        config.app_data(Data::new(Arc::new(limiter)));
    }),
];

#[actix_web::test]
async fn of_two_forms_of_a_limiter_the_first_serves_wherever_it_stands() {
    for (first, (name, serving)) in FORMS.iter().enumerate() {
        for (other, hidden) in &FORMS[first + 1..] {
            for is_outside in [true, false] {
                let limiters = [in_memory().0, in_memory().0];
                let (outer, inner) = if is_outside { (serving, hidden) } else { (hidden, serving) };
                let [of_outer, of_inner] =
                    if is_outside { [0, 1] } else { [1, 0] }.map(|index| limiters[index].clone());
                let inside = web::scope("").configure(|config| inner(config, of_inner)).route("/", web::get().to(nine));
                let app = init_service(App::new().configure(|config| outer(config, of_outer)).service(inside)).await;
                assert_eq!(TestRequest::get().send_request(&app).await.status(), 200);
                let target = Target::new("forms", 9, 60);
                let mut left = Vec::new();
                for limiter in &limiters {
                    left.push(target.peek(limiter).await.expect("memory").remaining());
                }
                assert_eq!(left, [8, 9], "{name} before {other}, outside: {is_outside}");
            }
        }
    }
}

/// The `app`, which has no limiter of its own: the process-wide one serves.
fn app(url: Option<&str>) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env_remove("APP_STORE").env_remove("RATELIMIT_URL");
    if let Some(url) = url {
        command.env("RATELIMIT_URL", url);
    }
    Process::start(&mut command)
}

#[test]
fn without_any_limiter_the_process_counts_in_memory_and_warns_once() {
    let mut app = app(None);
    assert_eq!(app.statuses("/quote", 5), [200, 200, 200, 429, 429]);
    app.kill();
    assert_eq!(app.lines_with(&["WARN", "RATELIMIT_URL"]), 1, "{:#?}", app.output());
}

#[test]
fn an_empty_url_in_the_environment_counts_as_none() {
    for url in ["", " \n"] {
        let mut app = app(Some(url));
        assert_eq!(app.statuses("/quote", 4), [200, 200, 200, 429]);
        app.kill();
        assert_eq!(app.lines_with(&["WARN", "RATELIMIT_URL"]), 1, "{:#?}", app.output());
        assert_eq!(app.lines_with(&["ERROR"]), 0, "{:#?}", app.output());
    }
}

#[test]
fn a_memory_url_in_the_environment_is_no_reason_to_warn() {
    let mut app = app(Some("memory://"));
    assert_eq!(app.statuses("/quote", 4), [200, 200, 200, 429]);
    app.kill();
    assert_eq!(app.lines_with(&["WARN"]), 0, "{:#?}", app.output());
}

#[test]
fn a_url_in_the_environment_that_makes_no_sense_is_an_error_and_no_crash() {
    let mut app = app(Some("carrier-pigeon://loft"));
    assert_eq!(app.statuses("/quote", 2), [500, 500]);
    app.kill();
    assert!(app.lines_with(&["ERROR", "RATELIMIT_URL", "carrier-pigeon"]) >= 1, "{:#?}", app.output());
}

#[cfg(unix)]
#[test]
fn a_url_in_the_environment_that_is_no_text_is_an_error_too() {
    use std::os::unix::ffi::OsStringExt;

    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env_remove("APP_STORE").env("RATELIMIT_URL", OsString::from_vec(b"memory://\xff".into()));
    let mut app = Process::start(&mut command);
    assert_eq!(app.statuses("/quote", 2), [500, 500]);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "RATELIMIT_URL", "UTF-8"]), 1, "{:#?}", app.output());
}

#[test]
fn a_user_scope_without_a_user_function_is_logged_once_with_what_to_do() {
    let mut app = app(Some("memory://"));
    assert_eq!(app.statuses("/user", 2), [500, 500]);
    app.kill();
    let says = ["ERROR", "`app::user`", "scope = \"user\"", "RateLimiter::builder().user("];
    assert_eq!(app.lines_with(&says), 1, "{:#?}", app.output());
}

#[test]
fn a_state_that_a_handler_without_a_limit_takes_is_logged_once_with_what_to_do() {
    let mut app = app(Some("memory://"));
    assert_eq!(app.statuses("/state", 2), [500, 500]);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "RateLimitState", "#[ratelimit]"]), 1, "{:#?}", app.output());
}

#[cfg(feature = "redis")]
#[test]
fn processes_with_the_same_url_in_the_environment_share_their_limits() {
    let redis = RedisServer::on_port();
    let apps = [(); 2].map(|()| app(Some(&redis.url())));
    redis.assert_shared_by(&apps, "/quote", 3);
}

#[test]
fn settings_have_the_documented_defaults() {
    let builder = format!("{:?}", RateLimiter::builder());
    for setting in [
        r#"prefix: "rate-limit""#,
        "deadline: 100ms",
        "on_store_error: Local",
        "capacity: 1000000",
        "clock: System",
        "trusted: None",
        "ipv6_prefix: 64",
        "nat64: []",
        "user: false",
    ] {
        assert!(builder.contains(setting), "`{setting}` is no part of {builder}");
    }
}

#[test]
fn numbers_out_of_range_are_errors_that_name_the_setting_and_its_range() {
    let builder = RateLimiter::builder;
    let deadline = |deadline| builder().deadline(deadline);
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(3600));
    for fits in
        [deadline(least), deadline(most), builder().capacity(1), builder().ipv6_prefix(128), builder().ipv6_prefix(0)]
    {
        assert!(fits.build().is_ok());
    }
    for (builder, expected) in [
        (deadline(Duration::ZERO), "deadline: must be from 1 ms to 1 hour"),
        (deadline(least / 2), "deadline: must be from 1 ms to 1 hour"),
        (deadline(most + least), "deadline: must be from 1 ms to 1 hour"),
        (deadline(Duration::MAX), "deadline: must be from 1 ms to 1 hour"),
        (builder().capacity(0), "capacity: must be from 1 to 268435456"),
        (builder().capacity(usize::MAX), "capacity: must be from 1 to 268435456"),
        (builder().ipv6_prefix(129), "ipv6_prefix: must be at most 128"),
    ] {
        let error = builder.build().expect_err(expected);
        assert_eq!(error.to_string(), format!("{expected} (RL004)"));
        assert!(format!("{error:?}").starts_with("Setting(") && format!("{error:?}").contains("(RL004)"), "{error:?}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_keepalive_out_of_range_is_an_error() {
    let limiter = |keepalive| RateLimiter::builder().tcp_keepalive(keepalive).store("redis://127.0.0.1/").build();
    for fits in [0, 1, 32_767].map(Duration::from_secs) {
        assert!(limiter(fits).is_ok(), "{fits:?}");
    }
    for wrong in [Duration::from_millis(999), Duration::from_secs(32_768)] {
        let error = limiter(wrong).expect_err("a time out of range").to_string();
        assert_eq!(error, "tcp_keepalive: must be 0, or from 1 to 32767 seconds (RL004)");
    }
}

#[test]
fn an_error_of_the_set_up_is_an_error_that_main_can_return() {
    fn main() -> std::io::Result<RateLimiter> {
        Ok(RateLimiter::open("http://127.0.0.1/")?)
    }
    let error = main().expect_err("no URL");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("store URL: scheme"), "{error}");
}

fn part_of(error: &Error) -> &str {
    match error {
        Error::Url { part, .. } => part,
        other => panic!("{other:?} is no error of a URL"),
    }
}

#[test]
fn a_url_that_makes_no_sense_names_the_part() {
    for (url, part) in [
        ("", "scheme"),
        ("localhost", "scheme"),
        ("http://127.0.0.1/", "scheme"),
        ("127.0.0.1:6379", "scheme"),
        ("memory://x", "path"),
        ("memory:", "scheme"),
        ("memory+cluster://", "scheme"),
        ("rediss+unix:///run/redis.sock", "scheme"),
    ] {
        let error = RateLimiter::open(url).expect_err(url);
        assert_eq!(part_of(&error), part, "{url}: {error}");
        assert!(error.to_string().contains(part), "{url}: {error}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_redis_url_that_makes_no_sense_names_the_part_and_keeps_the_password() {
    for (url, part) in [
        ("redis://", "host"),
        ("redis:///0", "host"),
        ("redis://[::1/", "host"),
        ("redis://:secret@127.0.0.1:99999/", "port"),
        ("redis://user:secret@127.0.0.1:port/", "port"),
        ("redis://:secret@127.0.0.1/first", "database"),
        ("redis://:secret@127.0.0.1/-1", "database"),
        ("redis://:secret@127.0.0.1/1/2", "database"),
        ("redis://:secret@127.0.0.1?db=5", "query"),
        ("redis://127.0.0.1/0?password=secret", "query"),
        ("redis+unix:///run/redis.sock?password=secret", "query"),
        ("redis+unix://", "path"),
        ("unix:///secret@host/run/redis.sock", "path"),
        ("redis+unix://run/redis.sock?pass=secret", "path"),
        ("redis+cluster://", "host"),
        ("redis+cluster://:secret@127.0.0.1:7000,", "host"),
        ("redis+cluster://:secret@127.0.0.1:7000,127.0.0.1:port", "port"),
        ("redis+cluster://:secret@127.0.0.1:7000,127.0.0.1:70000", "port"),
        ("redis+cluster://:secret@127.0.0.1:7000/1", "database"),
        ("redis+sentinel://", "host"),
        ("redis+sentinel:///main", "host"),
        ("redis+sentinel://:secret@127.0.0.1:26379,127.0.0.1:port/main", "port"),
        ("redis+sentinel://:secret@127.0.0.1:26379", "service name"),
        ("redis+sentinel://:secret@127.0.0.1:26379/", "service name"),
        ("redis+sentinel://:secret@127.0.0.1:26379/main/first", "database"),
        ("redis+sentinel://:secret@127.0.0.1:26379/main/1/2", "database"),
        ("redis+sentinel://:secret@127.0.0.1:26379/main?sentinel_passwort=secret", "query"),
    ] {
        let error = RateLimiter::open(url).expect_err(url);
        assert_eq!(part_of(&error), part, "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_url_of_several_servers_that_makes_no_sense_says_how_to_write_it() {
    for (url, form) in [
        ("redis+cluster://", "redis+cluster://"),
        ("redis+sentinel://127.0.0.1:26379", "redis+sentinel://"),
        ("redis+clusters://127.0.0.1:7000", "redis+cluster://"),
        ("redis+sentinels://127.0.0.1:26379", "redis+sentinel://"),
    ] {
        let error = RateLimiter::open(url).expect_err(url).to_string();
        assert!(error.contains(form), "{url}: {error}");
    }
}

#[cfg(all(feature = "redis", not(feature = "rustls")))]
#[test]
fn without_the_rustls_feature_a_url_over_tls_says_which_feature_is_missing() {
    for url in ["rediss://127.0.0.1/", "rediss+cluster://127.0.0.1/", "rediss+sentinel://127.0.0.1/main"] {
        let error = RateLimiter::open(url).expect_err(url).to_string();
        assert!(error.contains("rustls"), "{url}: {error}");
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn without_the_redis_feature_a_redis_url_says_which_feature_is_missing() {
    for url in ["redis://127.0.0.1/", "rediss://127.0.0.1/", "unix:///tmp/redis.sock"] {
        let error = RateLimiter::open(url).expect_err(url);
        assert!(error.to_string().contains("feature"), "{error}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn every_documented_form_of_a_redis_url_is_taken_without_a_server() {
    for url in [
        "redis://127.0.0.1",
        "redis://127.0.0.1/",
        "redis://localhost:6380/3",
        "redis://[::1]:6380/3",
        "redis://:secret@127.0.0.1/",
        "redis://user:secret@127.0.0.1:6380/3",
        "redis+unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=3&user=user&pass=secret",
        "unix:///run/redis.sock",
        "redis+cluster://127.0.0.1:7000",
        "redis+cluster://127.0.0.1",
        "redis+cluster://127.0.0.1:7000,[::1]:7001,localhost:7002/",
        "redis+cluster://user:secret@127.0.0.1:7000,127.0.0.1:7001",
        "redis+sentinel://127.0.0.1:26379/main",
        "redis+sentinel://127.0.0.1,[::1]:26380,localhost:26381/main/3",
        "redis+sentinel://user:secret@127.0.0.1:26379/main?sentinel_user=watcher&sentinel_password=secret",
        "redis+sentinel://:secret@127.0.0.1:26379/main/3?sentinel_password=secret",
    ] {
        let limiter = RateLimiter::open(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert!(!format!("{limiter:?}").contains("secret"), "{limiter:?}");
    }
}
