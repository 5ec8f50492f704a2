//! Mistakes in a set-up that no compiler sees. The log reports each once, with the repair, and reports nothing else.

use std::net::SocketAddr;
use std::process::Command;

use ratelimit_tests::http::{Connection, Server};
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Starts the application of the tests' `setup.rs`.
fn setup(variables: Variables<'_>) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setup"));
    command.env_remove("RATELIMIT_URL").envs(variables.iter().copied());
    Process::start(&mut command)
}

/// Sends this many requests to each address, each on its own connection. Actix gives connections to the workers in turn.
fn ask_all(app: &Process, addresses: usize, requests: usize) -> Vec<u16> {
    wait::until("it listens everywhere", || app.addresses().len() == addresses);
    let ask = |address: SocketAddr| (0..requests).map(move |_| Connection::open(address).get("/quote").status);
    app.addresses().into_iter().flat_map(ask).collect()
}

fn assert_quiet(mut app: Process, what: &str) {
    app.kill();
    assert_eq!(app.lines_with(&["WARN"]) + app.lines_with(&["ERROR"]), 0, "{what}: {:#?}", app.output());
}

fn assert_warns_once(mut app: Process, words: &[&str]) {
    app.kill();
    assert_eq!(app.lines_with(&["WARN"]), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(words), 1, "{words:?}: {:#?}", app.output());
}

/// Where the limiter of `setup.rs` is made.
const PLACE: &str = "src/bin/setup.rs:";

#[test]
fn a_limiter_for_each_worker_is_reported_with_the_place_where_it_is_made() {
    for runtime in ["actix", "tokio"] {
        let app = setup(&[("SETUP_LIMITER", "per worker"), ("SETUP_WORKERS", "4"), ("SETUP_RUNTIME", runtime)]);
        let passed = ask_all(&app, 1, 40).into_iter().filter(|&status| status == 200).count();
        assert_eq!(passed, 12, "three for each worker");
        assert_warns_once(app, &[PLACE, "each admits the whole limit", ".app_data(limiter.clone())"]);
    }
}

#[test]
fn a_limiter_for_each_address_is_reported_too() {
    let app = setup(&[("SETUP_LIMITER", "per worker"), ("SETUP_ADDRESSES", "2")]);
    assert_eq!(ask_all(&app, 2, 4), [200, 200, 200, 429, 200, 200, 200, 429]);
    assert_warns_once(app, &[PLACE, "each admits the whole limit"]);
}

#[cfg(feature = "redis")]
#[test]
fn a_limiter_over_redis_for_each_worker_counts_together_and_is_reported() {
    let redis = RedisServer::on_port();
    let app = setup(&[("SETUP_LIMITER", "per worker"), ("SETUP_WORKERS", "2"), ("SETUP_STORE", &redis.url())]);
    assert_eq!(ask_all(&app, 1, 5), [200, 200, 200, 429, 429]);
    assert_warns_once(app, &[PLACE, "its own connections"]);
}

#[test]
fn limiters_that_are_made_as_they_should_be_are_not_reported() {
    for (what, addresses, variables) in [
        ("made once", 1, &[("SETUP_WORKERS", "3")][..]),
        ("made once, without a system", 1, &[("SETUP_WORKERS", "3"), ("SETUP_RUNTIME", "tokio")]),
        ("made by the first worker", 1, &[("SETUP_LIMITER", "by the first worker"), ("SETUP_WORKERS", "3")]),
        ("one worker", 1, &[("SETUP_LIMITER", "per worker")]),
        ("one worker in each server", 3, &[("SETUP_LIMITER", "per worker"), ("SETUP_SERVERS", "3")]),
        (
            "one worker in each server, without a system",
            3,
            &[("SETUP_LIMITER", "per worker"), ("SETUP_SERVERS", "3"), ("SETUP_RUNTIME", "tokio")],
        ),
        ("one for several addresses", 2, &[("SETUP_ADDRESSES", "2"), ("SETUP_WORKERS", "2")]),
        ("in Data", 1, &[("SETUP_LIMITER", "in Data"), ("SETUP_WORKERS", "2")]),
    ] {
        let app = setup(variables);
        ask_all(&app, addresses, 7);
        assert_quiet(app, what);
    }
}

#[test]
fn a_limiter_in_an_arc_serves_as_it_would_without() {
    for form in ["in Data", "in Arc", "in Data of Arc"] {
        let app = setup(&[("SETUP_LIMITER", form), ("SETUP_WORKERS", "2")]);
        assert_eq!(ask_all(&app, 1, 5), [200, 200, 200, 429, 429], "{form}");
        assert_quiet(app, form);
    }
}

#[test]
fn a_limiter_in_a_form_that_is_ignored_is_reported() {
    for (form, name) in [("in Option", "Option<RateLimiter>"), ("in Rc", "Rc<RateLimiter>")] {
        let mut app = setup(&[("SETUP_LIMITER", form), ("SETUP_WORKERS", "2")]);
        ask_all(&app, 1, 3);
        app.kill();
        let words = ["WARN", &format!("`{name}`"), ".app_data(limiter.clone())"];
        assert_eq!(app.lines_with(&words), 1, "{form}: {:#?}", app.output());
    }
}

#[test]
fn a_limiter_that_another_form_hides_is_reported() {
    let app = setup(&[("SETUP_LIMITER", "hidden in scope")]);
    assert_eq!(app.statuses("/quote", 2), [200, 200]);
    assert_eq!(app.statuses("/scope/quote", 2), [200, 429], "the application's serves the scope, too");
    assert_warns_once(app, &["two RateLimiters", "web::Data<RateLimiter>"]);
    for form in ["same in scope", "another in scope"] {
        let app = setup(&[("SETUP_LIMITER", form)]);
        app.statuses("/quote", 2);
        app.statuses("/scope/quote", 2);
        assert_quiet(app, form);
    }
}

const X_FORWARDED_FOR: (&str, &str) = ("X-Forwarded-For", "192.0.2.1");
const FORWARDED: (&str, &str) = ("Forwarded", "for=192.0.2.1");
const X_REAL_IP: (&str, &str) = ("X-Real-IP", "192.0.2.1");
const CF_CONNECTING_IP: (&str, &str) = ("CF-Connecting-IP", "192.0.2.1");
const TRUE_CLIENT_IP: (&str, &str) = ("True-Client-IP", "192.0.2.1");
const FLY_CLIENT_IP: (&str, &str) = ("Fly-Client-IP", "192.0.2.1");

#[test]
fn a_proxy_that_nobody_trusts_is_reported() {
    for (header, choice) in [
        (X_FORWARDED_FOR, ""),
        (FORWARDED, ".header(ForwardingHeader::Forwarded)"),
        (X_REAL_IP, ".header(ForwardingHeader::XRealIp)"),
        (CF_CONNECTING_IP, ".header(ForwardingHeader::CfConnectingIp)"),
        (TRUE_CLIENT_IP, ".header(ForwardingHeader::TrueClientIp)"),
        (FLY_CLIENT_IP, ".header(ForwardingHeader::FlyClientIp)"),
    ] {
        let app = setup(&[("SETUP_WORKERS", "2")]);
        assert_eq!(app.get("/quote").status, 200);
        for _ in 0..3 {
            app.get_with("/quote", &[header]);
        }
        let name = header.0.to_lowercase();
        let advice = format!(r#"TrustedProxies::networks(["127.0.0.1"])?{choice})`"#);
        assert_warns_once(app, &[&format!("`{name}`"), &advice, "hops(0)"]);
    }
}

#[test]
fn a_proxy_is_not_reported_where_it_does_no_harm() {
    for (what, path, header, variables) in [
        ("no header", "/quote", ("X-Forwarded-Proto", "https"), &[][..]),
        ("trusted network", "/quote", X_FORWARDED_FOR, &[("SETUP_PROXIES", "127.0.0.0/8")]),
        ("trusted hop", "/quote", X_FORWARDED_FOR, &[("SETUP_PROXIES", "hops=1")]),
        ("trusted, by another header", "/quote", FORWARDED, &[("SETUP_PROXIES", "forwarded=127.0.0.1")]),
        ("trusted, by a single address", "/quote", X_REAL_IP, &[("SETUP_PROXIES", "real-ip=127.0.0.1")]),
        ("trusted, without the header", "/quote", ("Via", "1.1 proxy"), &[("SETUP_PROXIES", "127.0.0.0/8")]),
        ("a stranger to the trusted network", "/quote", X_FORWARDED_FOR, &[("SETUP_PROXIES", "10.0.0.0/8")]),
        ("none trusted, and that said", "/quote", X_FORWARDED_FOR, &[("SETUP_PROXIES", "hops=0")]),
        ("none trusted, and that said, by another header", "/quote", X_REAL_IP, &[("SETUP_PROXIES", "hops=0")]),
        ("no address counted", "/everybody", X_FORWARDED_FOR, &[]),
    ] {
        let app = setup(variables);
        for _ in 0..3 {
            app.get_with(path, &[header]);
        }
        assert_quiet(app, what);
    }
}

#[test]
fn a_trusted_proxy_that_sends_another_header_is_reported() {
    for (proxies, header, words) in [
        ("127.0.0.0/8", FORWARDED, ["`forwarded`", "`x-forwarded-for`", "ForwardingHeader::Forwarded"]),
        ("hops=1", FORWARDED, ["`forwarded`", "`x-forwarded-for`", "ForwardingHeader::Forwarded"]),
        (
            "forwarded=127.0.0.1",
            X_FORWARDED_FOR,
            ["`x-forwarded-for`", "`forwarded`", "ForwardingHeader::XForwardedFor"],
        ),
        ("127.0.0.1", X_REAL_IP, ["`x-real-ip`", "`x-forwarded-for`", "ForwardingHeader::XRealIp"]),
        ("127.0.0.1", FLY_CLIENT_IP, ["`fly-client-ip`", "`x-forwarded-for`", "ForwardingHeader::FlyClientIp"]),
        ("real-ip=127.0.0.1", X_FORWARDED_FOR, ["`x-forwarded-for`", "`x-real-ip`", "ForwardingHeader::XForwardedFor"]),
        ("real-ip=127.0.0.1", TRUE_CLIENT_IP, ["`true-client-ip`", "`x-real-ip`", "if the proxy writes"]),
    ] {
        let app = setup(&[("SETUP_PROXIES", proxies)]);
        for _ in 0..3 {
            app.get_with("/quote", &[header]);
        }
        assert_warns_once(app, &words);
    }
}

#[test]
fn an_application_without_a_limiter_answers_500_where_one_is_required() {
    let mut app = setup(&[("SETUP_LIMITER", "none"), ("SETUP_REQUIRE", "1"), ("SETUP_WORKERS", "2")]);
    assert_eq!(ask_all(&app, 1, 5), [500; 5]);
    let reply = app.get("/everybody");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    app.kill();
    assert_eq!(
        app.lines_with(&["ERROR", "`/quote`", ".app_data(limiter.clone())", "(RL024)"]),
        1,
        "{:#?}",
        app.output()
    );
    assert_eq!(app.lines_with(&["ERROR"]) + app.lines_with(&["WARN"]), 1, "{:#?}", app.output());
}

#[test]
fn the_limiter_of_the_process_does_not_serve_where_one_is_required() {
    let mut app = setup(&[("SETUP_LIMITER", "none"), ("SETUP_REQUIRE", "1"), ("RATELIMIT_URL", "memory://")]);
    assert_eq!(ask_all(&app, 1, 2), [500; 2]);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR", "(RL024)"]), 1, "{:#?}", app.output());
}

#[test]
fn an_application_with_a_limiter_serves_where_one_is_required() {
    for form in ["in Data", "in Arc", "in Data of Arc"] {
        let app = setup(&[("SETUP_LIMITER", form), ("SETUP_REQUIRE", "1")]);
        assert_eq!(ask_all(&app, 1, 4), [200, 200, 200, 429], "{form}");
        assert_quiet(app, form);
    }
    let app = setup(&[("SETUP_LIMITER", "in scope alone"), ("SETUP_REQUIRE", "1")]);
    assert_eq!(app.statuses("/scope/quote", 4), [200, 200, 200, 429]);
    assert_eq!(app.statuses("/quote", 1), [500], "the limiter of a scope serves that scope alone");
}

#[test]
fn without_the_requirement_the_limiter_of_the_process_serves() {
    let app = setup(&[("SETUP_LIMITER", "none")]);
    assert_eq!(ask_all(&app, 1, 4), [200, 200, 200, 429]);
    assert_warns_once(app, &["no RateLimiter in app_data", "(RL007)"]);
}
