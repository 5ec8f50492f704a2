//! Counters in Memcached: what is its own, and what happens when it fails.

use std::time::{Duration, Instant};

use actix_web::rt::Runtime;
use ratelimit_runtime::{CheckError, OnStoreError, Policy, RateLimitState, RateLimiter, Subject, policy};
use ratelimit_tests::{memcached_server::MemcachedServer, proxy::Proxy, wait};

static LIMIT: Policy = policy!("3/day", key = "mc", scope = "user");
static GCRA: Policy = policy!("3/day", key = "mc-gcra", scope = "user", algorithm = "gcra");
static BOTH: Policy = policy!(("3/day", scope = "user"), ("1000/day", scope = "global"), key = "mc-both");

struct Limited {
    limiter: RateLimiter,
    runtime: Runtime,
}

impl Limited {
    fn new(url: &str, on_store_error: OnStoreError) -> Self {
        let builder = RateLimiter::builder().deadline(Duration::from_millis(500)).on_store_error(on_store_error);
        let limiter = builder.store(url).build().expect("a URL");
        Self { limiter, runtime: Runtime::new().expect("a runtime") }
    }

    fn check(&self, policy: &'static Policy, user: &str) -> Result<RateLimitState, CheckError> {
        self.runtime.block_on(self.limiter.check(policy, &Subject::new().user(user)))
    }

    fn remaining(&self, policy: &'static Policy, user: &str) -> Option<u32> {
        self.check(policy, user).ok().map(|state| state.remaining())
    }
}

#[test]
fn a_server_that_is_killed_or_stands_still_is_answered_in_time_and_comes_back() {
    let mut server = MemcachedServer::start();
    let limited = Limited::new(&server.url(), OnStoreError::Deny);
    assert_eq!(limited.remaining(&LIMIT, "alice"), Some(2));
    for is_killed in [true, false] {
        if is_killed {
            server.kill()
        } else {
            server.pause()
        }
        // A signal takes a moment.
        wait::until("a check fails in time", || {
            let started = Instant::now();
            let told = limited.check(&GCRA, "alice").err();
            assert!(started.elapsed() < wait::PATIENCE / 4, "{:?}", started.elapsed());
            told == Some(CheckError::StoreUnavailable)
        });
        if is_killed {
            server.restart()
        } else {
            server.resume()
        }
        wait::until("it is back", || limited.check(&LIMIT, "bob").is_ok_and(|state| !state.is_degraded()));
        assert_eq!(limited.runtime.block_on(limited.limiter.ping()), Ok(()));
    }
}

#[test]
fn a_slow_server_is_answered_in_time_and_used_again() {
    let server = MemcachedServer::start();
    let proxy = Proxy::to(server.address().parse().expect("an address"));
    let limited = Limited::new(&proxy.url().replace("redis://", "memcached://"), OnStoreError::Deny);
    for policy in [&LIMIT, &GCRA] {
        assert_eq!(limited.remaining(policy, "alice"), Some(2));
        proxy.delay_replies(Duration::from_millis(700));
        let started = Instant::now();
        assert_eq!(limited.check(policy, "alice").err(), Some(CheckError::StoreUnavailable));
        assert!(started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
        proxy.heal();
        wait::until("it is used again", || limited.check(policy, "bob").is_ok());
    }
}

#[test]
fn a_connection_that_was_idle_is_used_again() {
    let server = MemcachedServer::start();
    let limited = Limited::new(&server.url(), OnStoreError::Deny);
    assert_eq!(limited.remaining(&LIMIT, "alice"), Some(2));
    // Longer than a server may be silent while it owes replies.
    limited.runtime.block_on(async { actix_web::rt::time::sleep(Duration::from_millis(2500)).await });
    assert_eq!(limited.remaining(&GCRA, "alice"), Some(2));
    assert_eq!(limited.remaining(&LIMIT, "alice"), Some(1));
}

#[test]
fn one_of_two_servers_that_is_down_hurts_its_own_keys_alone() {
    let (server, mut other) = (MemcachedServer::start(), MemcachedServer::start());
    let url = format!("{},{}", server.url(), other.address());
    let limited = Limited::new(&url, OnStoreError::Deny);
    let users: Vec<String> = (0..40).map(|user| format!("user-{user}")).collect();
    assert!(users.iter().all(|user| limited.remaining(&LIMIT, user) == Some(2)));
    let items = |server: &MemcachedServer| server.ask("stats\r\n").contains("STAT curr_items 0");
    assert!(!items(&server) && !items(&other), "both have keys");
    other.kill();
    let mut alive = 0;
    for _ in 0..3 {
        alive = users.iter().filter(|user| limited.check(&GCRA, user).is_ok()).count();
    }
    assert!((5..=35).contains(&alive), "{alive} of 40 users are counted");
    other.restart();
    wait::until("all are counted again", || users.iter().all(|user| limited.check(&GCRA, user).is_ok()));
}

#[test]
fn a_window_is_a_number_with_an_expiry() {
    let server = MemcachedServer::start();
    let limited = Limited::new(&server.url(), OnStoreError::Deny);
    for remaining in [2, 1, 0, 0, 0] {
        assert_eq!(limited.remaining(&LIMIT, "alice"), Some(remaining));
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let end = (now / 86_400 + 1) * 86_400;
    let item = server.ask(&format!("mg rate-limit/mc/86400/user:alice/{end} v t\r\n"));
    let seconds: u64 = item.split(['t', '\r']).nth(1).and_then(|text| text.parse().ok()).expect("an expiry");
    assert!(item.contains("\r\n3"), "refused requests are taken back: {item}");
    assert!(seconds.abs_diff(end - now) <= 3, "{item}");
}

#[test]
fn a_foreign_value_fails_its_own_check_and_is_no_free_pass() {
    let server = MemcachedServer::start();
    let limited = Limited::new(&server.url(), OnStoreError::Deny);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let end = (now / 86_400 + 1) * 86_400;
    for key in [format!("rate-limit/mc/86400/user:alice/{end}"), "rate-limit/mc-gcra/86400-gcra/user:alice".to_owned()]
    {
        assert!(server.ask(&format!("ms {key} 5\r\nhello\r\n")).starts_with("HD"));
    }
    for policy in [&LIMIT, &GCRA] {
        assert_eq!(limited.check(policy, "alice").err(), Some(CheckError::StoreUnavailable));
        assert_eq!(limited.remaining(policy, "bob"), Some(2));
        limited.runtime.block_on(limited.limiter.reset(policy, &Subject::new().user("alice"))).expect("a store");
        assert_eq!(limited.remaining(policy, "alice"), Some(2));
    }
}

#[test]
fn a_server_whose_memory_is_full_refuses_and_admits_nobody_for_free() {
    // Errors in place of evictions.
    let server = MemcachedServer::with(&["-m", "4", "-M"]);
    let limited = Limited::new(&server.url(), OnStoreError::Deny);
    server.fill();
    let told: Vec<_> = (0..50).map(|user| limited.check(&BOTH, &format!("user-{user}"))).collect();
    assert!(told.iter().any(Result::is_err), "{told:?}");
}

#[test]
fn a_server_that_speaks_another_protocol_is_a_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let limited = Limited::new(&format!("memcached://{address}"), OnStoreError::Deny);
    for _ in 0..3 {
        assert_eq!(limited.check(&LIMIT, "alice").err(), Some(CheckError::StoreUnavailable));
    }
}
