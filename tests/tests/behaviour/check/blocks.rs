//! `block = "10m"`: whom a rule has refused stays refused.

use std::{sync::Arc, thread, time::Duration};

use actix_web::rt::Runtime;
use actix_web::web::{ServiceConfig, get, scope};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{
    CheckError, ManualClock, Policy, Rate, RateLimit, RateLimitState, RateLimiter, Subject, policy, ratelimit,
};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::map_store::MapStore;
#[cfg(feature = "memcached")]
use ratelimit_tests::memcached_server::MemcachedServer;
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::{START, in_memory};

#[cfg(feature = "redis")]
mod redis;

static FIXED: Policy = policy!("2/minute", key = "blocks-fixed", scope = "user", block = "10m");
static SLIDING: Policy =
    policy!("2/minute", key = "blocks-sliding", scope = "user", algorithm = "sliding-window", block = "10m");
static GCRA: Policy = policy!("2/minute", key = "blocks-gcra", scope = "user", algorithm = "gcra", block = "10m");
static ESCALATING: Policy = policy!("1/second", key = "blocks-more", scope = "user", block = ["1m", "10m", "1h"]);
static SHORT: Policy = policy!("1/second", key = "blocks-short", scope = "user", block = ["2s", "4s"]);
static LONG_WINDOW: Policy = policy!("1/hour", key = "blocks-hour", scope = "user", block = "1m");
static BOTH: Policy =
    policy!(("2/minute", scope = "user", block = "10m"), ("3/hour", scope = "global"), key = "blocks-both");
static PLAIN: Policy = policy!("2/minute", key = "blocks-plain", scope = "user");

/// A limiter whose checks are awaited here.
struct Blocking {
    limiter: RateLimiter,
    runtime: Runtime,
}

impl Blocking {
    fn new(limiter: RateLimiter) -> Self {
        Self { limiter, runtime: Runtime::new().expect("a runtime") }
    }

    fn check(&self, policy: &'static Policy, user: &str) -> RateLimitState {
        self.runtime.block_on(self.limiter.check(policy, &Subject::new().user(user))).expect("a store")
    }

    fn peek(&self, policy: &'static Policy, user: &str) -> RateLimitState {
        self.runtime.block_on(self.limiter.peek(policy, &Subject::new().user(user))).expect("a store")
    }

    fn reset(&self, policy: &'static Policy, user: &str) {
        self.runtime.block_on(self.limiter.reset(policy, &Subject::new().user(user))).expect("a store");
    }

    fn block(&self, policy: &'static Policy, user: &str, duration: Duration) -> Result<(), CheckError> {
        self.runtime.block_on(self.limiter.block(policy, &Subject::new().user(user), duration))
    }

    fn admits(&self, policy: &'static Policy, user: &str) -> bool {
        self.check(policy, user).is_admitted()
    }

    /// Makes requests until one is refused, and returns the state of that.
    fn exhaust(&self, policy: &'static Policy, user: &str) -> RateLimitState {
        (0..10).map(|_| self.check(policy, user)).find(|state| !state.is_admitted()).expect("a refusal")
    }
}

fn with_clock() -> (Blocking, ManualClock) {
    let (limiter, clock) = in_memory();
    (Blocking::new(limiter), clock)
}

/// Two limiters over each kind of store, like two processes. In memory they are one. The stores are tried at the same time, since blocks take
/// theirs.
fn in_each_store(test: impl Fn(&str, [&Blocking; 2]) + Copy + Send) {
    let run = move |name: &str, limiter: &dyn Fn() -> RateLimiter| {
        test(name, [&Blocking::new(limiter()), &Blocking::new(limiter())]);
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            let memory = RateLimiter::in_memory();
            run("in memory", &|| memory.clone());
        });
        scope.spawn(move || {
            let map = Arc::new(MapStore::default());
            run("in a map", &|| RateLimiter::builder().store(Arc::clone(&map)).build().expect("a store"));
        });
        #[cfg(feature = "memcached")]
        scope.spawn(move || {
            let server = MemcachedServer::start();
            run("in Memcached", &|| at(&server.url()));
        });
        #[cfg(feature = "redis")]
        scope.spawn(move || {
            let redis = RedisServer::on_socket();
            run("in Redis", &|| at(&redis.url()));
            assert_eq!(redis.keys_without_expiry(), [""; 0]);
        });
        #[cfg(feature = "redis")]
        scope.spawn(move || {
            let cluster = RedisCluster::steady();
            run("in a cluster", &|| at(&cluster.url()));
            assert_eq!(cluster.keys_without_expiry(), [""; 0]);
        });
    });
}

#[cfg(any(feature = "redis", feature = "memcached"))]
fn at(url: &str) -> RateLimiter {
    RateLimiter::builder().store(url).deadline(wait::PATIENCE).build().expect("a URL")
}

#[test]
fn who_was_refused_stays_refused_for_the_block() {
    for policy in [&FIXED, &SLIDING, &GCRA] {
        let (limiter, clock) = with_clock();
        let refused = limiter.exhaust(policy, "mallory");
        assert!(refused.is_blocked() && refused.remaining() == 0);
        assert_eq!(refused.retry_after(), Some(600));
        clock.advance(Duration::from_secs(599));
        let later = limiter.check(policy, "mallory");
        assert!(!later.is_admitted() && later.is_blocked());
        assert_eq!((later.retry_after(), later.reset_at()), (Some(1), Some(START + 600)));
        assert!(limiter.admits(policy, "alice"), "nobody else is blocked");
        clock.advance(Duration::from_secs(1));
        let free = limiter.check(policy, "mallory");
        assert!(free.is_admitted() && !free.is_blocked() && free.remaining() == 1);
    }
}

#[test]
fn a_request_while_blocked_neither_counts_nor_lengthens_the_block() {
    let (limiter, clock) = with_clock();
    limiter.exhaust(&FIXED, "mallory");
    for _ in 0..20 {
        clock.advance(Duration::from_secs(29));
        assert!(!limiter.admits(&FIXED, "mallory"));
    }
    clock.advance(Duration::from_secs(20));
    assert_eq!(limiter.check(&FIXED, "mallory").remaining(), 1);
}

#[test]
fn each_block_is_longer_until_the_longest_has_passed_without_one() {
    let (limiter, clock) = with_clock();
    for seconds in [60, 600, 3600, 3600] {
        assert_eq!(limiter.exhaust(&ESCALATING, "mallory").retry_after(), Some(seconds));
        clock.advance(Duration::from_secs(seconds.into()));
    }
    clock.advance(Duration::from_secs(3600));
    assert_eq!(limiter.exhaust(&ESCALATING, "mallory").retry_after(), Some(60));
}

#[test]
fn a_block_lasts_at_least_until_the_rate_admits() {
    let (limiter, clock) = with_clock();
    let refused = limiter.exhaust(&LONG_WINDOW, "mallory");
    let left = 3600 - START % 3600;
    assert_eq!(refused.retry_after().map(u64::from), Some(left));
    clock.advance(Duration::from_secs(left));
    assert!(limiter.admits(&LONG_WINDOW, "mallory"));
}

#[test]
fn another_rules_refusal_blocks_nobody_and_a_block_costs_other_rules_nothing() {
    let (limiter, clock) = with_clock();
    limiter.exhaust(&BOTH, "mallory");
    assert!(!limiter.admits(&BOTH, "mallory"));
    let state = limiter.check(&BOTH, "alice");
    assert!(state.is_admitted(), "two of three are counted");
    let refused = limiter.check(&BOTH, "alice");
    assert!(!refused.is_admitted() && !refused.is_blocked(), "the other rule is full");
    clock.advance(Duration::from_secs(3600));
    assert!(limiter.admits(&BOTH, "alice"));
}

#[test]
fn a_look_shows_a_block_and_a_reset_lifts_it() {
    in_each_store(|name, [here, there]| {
        for policy in [&FIXED, &SLIDING, &GCRA] {
            here.exhaust(policy, "mallory");
            wait::until("the other limiter refuses", || !there.admits(policy, "mallory"));
            let seen = there.peek(policy, "mallory");
            assert!(seen.is_blocked() && seen.is_over() && seen.remaining() == 0, "{name}: {seen:?}");
            assert!(seen.retry_after().is_some_and(|seconds| (590..=601).contains(&seconds)), "{name}: {seen:?}");
            assert!(!there.peek(policy, "alice").is_blocked(), "{name}");
            there.reset(policy, "mallory");
            wait::until("both admit again", || {
                !here.peek(policy, "mallory").is_blocked() && here.admits(policy, "mallory")
            });
            wait::until("both admit again", || there.admits(policy, "mallory"));
        }
    });
}

#[test]
fn blocks_become_longer_in_each_store() {
    in_each_store(|name, [here, there]| {
        // Blocks end with a second.
        let first = here.exhaust(&SHORT, "mallory");
        assert!(first.retry_after().is_some_and(|seconds| (2..=3).contains(&seconds)), "{name}: {first:?}");
        wait::until("the first block ends", || here.admits(&SHORT, "mallory"));
        let second = there.exhaust(&SHORT, "mallory");
        assert!(second.retry_after().is_some_and(|seconds| (3..=5).contains(&seconds)), "{name}: {second:?}");
        wait::until("the second block ends", || there.admits(&SHORT, "mallory"));
    });
}

#[test]
fn a_block_by_hand_holds_everywhere_until_it_is_reset() {
    in_each_store(|name, [here, there]| {
        for policy in [&FIXED, &GCRA, &BOTH] {
            here.block(policy, "trudy", Duration::from_millis(59_001)).expect("a store");
            let refused = there.check(policy, "trudy");
            assert!(!refused.is_admitted() && refused.is_blocked(), "{name}: {refused:?}");
            assert!(refused.retry_after().is_some_and(|seconds| (55..=61).contains(&seconds)), "{name}: {refused:?}");
            there.reset(policy, "trudy");
            wait::until("it is lifted", || there.admits(policy, "trudy"));
        }
    });
}

#[test]
fn a_block_by_hand_that_cannot_be_says_why() {
    let (limiter, _) = with_clock();
    for duration in [Duration::ZERO, Duration::from_secs(90 * 86_400 + 1), Duration::MAX] {
        let error = limiter.block(&FIXED, "trudy", duration).expect_err("out of range");
        assert!(error.to_string().contains("from 1 second to 90 days"), "{error}");
    }
    let error = limiter.block(&PLAIN, "trudy", Duration::from_secs(60)).expect_err("no rule blocks");
    assert!(error.to_string().contains("block = \"10m\""), "{error}");
}

#[test]
fn a_limiter_that_only_watches_blocks_nobody() {
    let clock = ManualClock::new(START);
    let limiter = RateLimiter::builder().clock(clock.clone()).shadow(true).build().expect("a limiter");
    let limiter = Blocking::new(limiter);
    for _ in 0..5 {
        let state = limiter.check(&FIXED, "mallory");
        assert!(state.is_admitted() && !state.is_blocked());
    }
    clock.advance(Duration::from_secs(60));
    assert!(!limiter.check(&FIXED, "mallory").is_over());
}

#[test]
fn a_limiter_that_only_watches_can_lift_a_block() {
    let map = Arc::new(MapStore::default());
    let limiter =
        |shadow| Blocking::new(RateLimiter::builder().store(Arc::clone(&map)).shadow(shadow).build().expect("a store"));
    let (limiter, watching) = (limiter(false), limiter(true));
    limiter.block(&FIXED, "mallory", Duration::from_secs(60)).expect("a store");
    assert!(!limiter.admits(&FIXED, "mallory"));
    watching.reset(&FIXED, "mallory");
    assert!(limiter.admits(&FIXED, "mallory"));
}

static WHOLE: Policy = policy!("2/minute", key = "blocks-whole", scope = "header:x-id", block = "10m");

fn plan(request: &HttpRequest) -> Option<Rate> {
    (!request.headers().contains_key("x-free")).then(|| Rate::per_minute(1))
}

fn is_partner(request: &HttpRequest) -> bool {
    request.headers().contains_key("x-partner")
}

#[ratelimit(rate = plan, scope = "header:x-id", exempt = is_partner, block = "10m")]
async fn planned() -> impl Responder {
    "by plan"
}

fn further_routes(config: &mut ServiceConfig) {
    config.route("/planned", get().to(planned));
    config.service(scope("/whole").wrap(RateLimit::new(&WHOLE)).route("/page", get().to(HttpResponse::Ok)));
}

#[test]
fn a_middleware_and_a_plan_block_and_an_exempt_request_passes() {
    let (limiter, clock) = in_memory();
    let app = Served::limited(&limiter, further_routes);
    let ask = |path: &str, further: &[(&str, &str)]| {
        let headers: Vec<_> = [("X-Id", "mallory")].iter().chain(further).copied().collect();
        app.get_with(path, &headers).status
    };
    assert_eq!([(); 3].map(|()| ask("/whole/missing", &[])), [404, 404, 429]);
    assert_eq!([(); 2].map(|()| ask("/planned", &[])), [200, 429]);
    clock.advance(Duration::from_secs(590));
    assert_eq!([ask("/whole/page", &[]), ask("/planned", &[])], [429, 429]);
    // Neither is counted, so neither asks for the block.
    assert_eq!([ask("/planned", &[("X-Free", "1")]), ask("/planned", &[("X-Partner", "1")])], [200, 200]);
    clock.advance(Duration::from_secs(10));
    assert_eq!([ask("/whole/page", &[]), ask("/planned", &[])], [200, 200]);
}

fn failed(response: &HttpResponse) -> bool {
    response.status() == 401
}

#[ratelimit("3/minute", scope = "header:x-id", count_if = failed, block = "10m")]
async fn login(request: HttpRequest) -> impl Responder {
    let is_right = request.headers().get("x-password").is_some_and(|password| password == "right");
    if is_right { HttpResponse::Ok() } else { HttpResponse::Unauthorized() }
}

fn routes(config: &mut ServiceConfig) {
    config.route("/login", get().to(login));
}

#[test]
fn failed_logins_block_and_others_do_not() {
    let (limiter, clock) = in_memory();
    let app = Served::limited(&limiter, routes);
    let login = |id: &str, password: &str| app.get_with("/login", &[("X-Id", id), ("X-Password", password)]).status;
    for _ in 0..10 {
        assert_eq!(login("alice", "right"), 200);
    }
    for expected in [401, 401, 401, 429] {
        assert_eq!(login("mallory", "guess"), expected);
    }
    clock.advance(Duration::from_secs(590));
    assert_eq!(login("mallory", "right"), 429);
    assert_eq!(login("alice", "right"), 200);
    clock.advance(Duration::from_secs(10));
    assert_eq!(login("mallory", "right"), 200);
}

#[cfg(feature = "redis")]
#[test]
fn who_is_blocked_is_refused_without_a_question_to_redis() {
    let redis = RedisServer::on_socket();
    let limiter = Blocking::new(at(&redis.url()));
    for policy in [&FIXED, &SLIDING, &GCRA] {
        limiter.exhaust(policy, "mallory");
        // The cache asks about a thousand requests in a second all the same.
        let calls = || redis.calls("evalsha") + redis.calls("eval");
        wait::until("most are refused without Redis", || {
            let before = calls();
            (0..2000).for_each(|_| assert!(!limiter.admits(policy, "mallory")));
            calls() - before < 50
        });
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_block_is_kept_for_the_next_and_then_expires() {
    let redis = RedisServer::on_socket();
    let limiter = Blocking::new(at(&redis.url()));
    limiter.exhaust(&SHORT, "mallory");
    let keys: Vec<String> = redis.keys().into_iter().filter(|key| key.ends_with("/block")).collect();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    let seconds: u64 = redis.ask(&["TTL", key]);
    assert!((5..=8).contains(&seconds), "{seconds}");
    redis.tell(&["SET", key, "whatever 7x", "EX", "100"]);
    wait::until("a value of another program is no block", || limiter.admits(&SHORT, "mallory"));
}

#[cfg(feature = "redis")]
#[test]
fn a_block_goes_on_when_redis_fails() {
    let mut redis = RedisServer::on_socket();
    let limiter =
        RateLimiter::builder().store(redis.url()).deadline(Duration::from_millis(500)).build().expect("a URL");
    let limiter = Blocking::new(limiter);
    limiter.exhaust(&FIXED, "mallory");
    limiter.block(&FIXED, "trudy", Duration::from_secs(60)).expect("a store");
    redis.kill();
    wait::until("Redis is known to be down", || limiter.check(&FIXED, "alice").is_degraded());
    for user in ["mallory", "trudy"] {
        let state = limiter.check(&FIXED, user);
        assert!(!state.is_admitted() && state.is_blocked(), "{user}: {state:?}");
    }
}
