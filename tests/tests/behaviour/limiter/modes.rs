//! Limiters that are switched off, and limiters that count and refuse nothing.

use actix_web::error::ErrorImATeapot;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, Responder};
use ratelimit_runtime::{
    CheckError, Policy, Rate, RateLimit, RateLimitHeaders, RateLimitState, RateLimiter, RateLimiterBuilder, Subject,
    policy, ratelimit,
};
use ratelimit_tests::FOREVER;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};
#[cfg(feature = "redis")]
use ratelimit_tests::{
    redis_server::RedisServer,
    wait::{self, PATIENCE},
};

static JOBS: Policy = policy!("2/hour", key = "modes: jobs", scope = "user");
static APP: Policy = policy!("3/hour", key = "modes: app", scope = "ip");

/// The state in the handler: whether the request is counted, is over its limit, and is admitted without a store.
fn seen(state: &RateLimitState) -> String {
    format!("counted {}, over {}, degraded {}", state.is_counted(), state.is_over(), state.is_degraded())
}

const COUNTED: &str = "counted true, over false, degraded false";
const OVER: &str = "counted true, over true, degraded false";
const UNCOUNTED: &str = "counted false, over false, degraded false";

#[ratelimit(limit = 2, per = FOREVER)]
async fn two(state: RateLimitState) -> String {
    seen(&state)
}

#[ratelimit(limit = 2, per = FOREVER, scope = "global", over_limit = teapot)]
async fn answered(state: RateLimitState) -> String {
    seen(&state)
}

fn teapot(_: &HttpRequest, _: &RateLimitState) -> HttpResponse {
    HttpResponse::ImATeapot().finish()
}

#[ratelimit(limit = 1, per = FOREVER, scope = "global", on_store_error = "deny")]
#[ratelimit(limit = 2, per = 2_000_000_000, scope = "ip", on_store_error = "deny", algorithm = "fixed-window")]
async fn several(state: RateLimitState) -> String {
    let remaining: Vec<_> = state.rules().map(|rule| (rule.remaining(), rule.is_over())).collect();
    format!("{remaining:?}")
}

#[ratelimit(limit = 2, per = FOREVER, scope = "ip", on_store_error = "deny")]
async fn denied(state: RateLimitState) -> String {
    seen(&state)
}

#[ratelimit(limit = 2, per = FOREVER, scope = "ip", key = "modes: default")]
async fn by_default(state: RateLimitState) -> String {
    seen(&state)
}

#[ratelimit(rate = plan, scope = "global")]
async fn planned(state: RateLimitState) -> String {
    seen(&state)
}

fn plan(_: &HttpRequest) -> Rate {
    Rate::per_day(2)
}

/// A limiter without a user function answers 500 here.
#[ratelimit(limit = 2, per = FOREVER, scope = "user")]
#[ratelimit(limit = 2, per = FOREVER, scope = fails)]
async fn with_functions() -> impl Responder {
    HttpResponse::Ok()
}

fn fails(_: &HttpRequest) -> Result<String, Error> {
    Err(ErrorImATeapot("a function of the policy was called"))
}

fn routes(config: &mut ServiceConfig) {
    config.route("/planned", web::get().to(planned));
    config.route("/two", web::get().to(two)).route("/answered", web::get().to(answered));
    config.route("/several", web::get().to(several)).route("/functions", web::get().to(with_functions));
    config.route("/denied", web::get().to(denied)).route("/default", web::get().to(by_default));
}

fn build(builder: RateLimiterBuilder) -> RateLimiter {
    builder.build().expect("a limiter")
}

fn off() -> RateLimiterBuilder {
    RateLimiter::builder().enabled(false)
}

fn shadow() -> RateLimiterBuilder {
    RateLimiter::builder().shadow(true)
}

fn serve(limiter: &RateLimiter) -> Served {
    let limiter = limiter.clone();
    Served::start(move |listener| {
        let app = move || {
            let inner = web::scope("/in").wrap(RateLimit::new(&APP)).configure(routes);
            let headers = RateLimitHeaders::default().ietf();
            App::new().app_data(limiter.clone()).wrap(headers).service(inner).configure(routes)
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    })
}

fn bodies(server: &Served, path: &str, requests: usize) -> Vec<String> {
    let mut connection = server.open();
    (0..requests).map(|_| connection.get(path).body).collect()
}

fn rate_limit_headers(reply: &Reply) -> usize {
    reply.headers.iter().filter(|(name, _)| name.contains("ratelimit")).count()
}

#[test]
fn a_limiter_that_is_switched_off_admits_everything_and_counts_nothing() {
    for limiter in [build(off()), build(off().shadow(true))] {
        let server = serve(&limiter);
        for path in ["/two", "/answered", "/denied", "/planned", "/in/two"] {
            assert_eq!(bodies(&server, path, 5), [UNCOUNTED; 5], "{path}");
            assert_eq!(rate_limit_headers(&server.get(path)), 0, "{path}");
        }
    }
}

#[test]
fn a_limiter_that_is_switched_off_calls_no_function_of_a_policy() {
    let server = serve(&build(off()));
    assert_eq!(server.get("/functions").status, 200);
    assert_ne!(serve(&build(RateLimiter::builder())).get("/functions").status, 200);
}

#[actix_web::test]
async fn checks_of_a_program_are_admitted_by_a_limiter_that_is_switched_off() {
    let limiter = build(off());
    let (alice, nobody) = (Subject::new().user("alice"), Subject::new());
    for subject in [&alice, &nobody] {
        for _ in 0..5 {
            let state = limiter.check(&JOBS, subject).await.expect("no error");
            assert_eq!((state.is_admitted(), state.is_counted(), state.limit()), (true, false, 2));
        }
        let look = limiter.peek(&JOBS, subject).await.expect("no error");
        assert_eq!((look.is_counted(), look.remaining()), (false, 2));
        assert_eq!(limiter.reset(&JOBS, subject).await, Ok(()));
    }
}

#[test]
fn a_limiter_in_shadow_counts_and_refuses_nothing() {
    let server = serve(&build(shadow()));
    for path in ["/two", "/answered", "/planned"] {
        assert_eq!(bodies(&server, path, 4), [COUNTED, COUNTED, OVER, OVER], "{path}");
        let reply = server.get(path);
        assert_eq!((reply.status, reply.header("retry-after")), (200, None), "{path}");
        assert_eq!((reply.number("x-ratelimit-limit"), reply.number("x-ratelimit-remaining")), (2, 0), "{path}");
    }
    // The middleware, too, whose three requests are used up by then.
    assert_eq!(bodies(&server, "/in/default", 2), [COUNTED, COUNTED]);
    assert_eq!(bodies(&server, "/in/default", 3), [OVER; 3]);
}

#[test]
fn in_shadow_a_rule_that_is_over_keeps_no_other_from_counting() {
    let server = serve(&build(shadow()));
    let expected = ["[(0, false), (1, false)]", "[(0, true), (0, false)]", "[(0, true), (0, true)]"];
    assert_eq!(bodies(&server, "/several", 3), expected);
}

#[test]
fn a_limiter_stays_in_its_mode_after_its_first_requests() {
    // More requests than the search for mistakes in the set-up looks at.
    const MANY: usize = 6000;
    let servers = [(build(off()), UNCOUNTED), (build(shadow()), OVER)];
    for (limiter, last) in servers {
        let server = serve(&limiter);
        let bodies = bodies(&server, "/two", MANY);
        assert!(bodies[2..].iter().all(|body| body == last), "{last}");
    }
}

#[test]
fn limiters_in_several_modes_may_share_a_handler() {
    let limiters = [RateLimiter::builder(), shadow(), off(), RateLimiter::builder().enabled(true).shadow(false)];
    let servers = limiters.map(|limiter| serve(&build(limiter)));
    let statuses = servers.each_ref().map(|server| server.statuses("/two", 3));
    assert_eq!(statuses, [[200, 200, 429], [200; 3], [200; 3], [200, 200, 429]]);
}

#[actix_web::test]
async fn checks_of_a_program_are_counted_and_admitted_in_shadow() {
    let (limiter, alice) = (build(shadow()), Subject::new().user("alice"));
    for (over, remaining) in [(false, 1), (false, 0), (true, 0)] {
        let state = limiter.check(&JOBS, &alice).await.expect("no error");
        assert_eq!((state.is_admitted(), state.is_over(), state.remaining()), (true, over, remaining));
    }
    assert_eq!(limiter.peek(&JOBS, &alice).await.expect("no error").remaining(), 0);
    assert_eq!(limiter.reset(&JOBS, &alice).await, Ok(()));
    assert_eq!(limiter.peek(&JOBS, &alice).await.expect("no error").remaining(), 2);
    let nobody = limiter.check(&JOBS, &Subject::new()).await;
    assert!(matches!(nobody, Err(CheckError::Subject { .. })), "{nobody:?}");
}

#[actix_web::test]
async fn a_ping_of_memory_succeeds() {
    for limiter in [RateLimiter::in_memory(), build(shadow()), build(off())] {
        assert_eq!(limiter.ping().await, Ok(()));
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_limiter_that_is_switched_off_does_not_ask_redis() {
    let redis = RedisServer::on_socket();
    let limiter = build(off().store(redis.url()));
    assert_eq!(bodies(&serve(&limiter), "/denied", 5), [UNCOUNTED; 5]);
    assert_eq!((redis.keys(), redis.clients()), (vec![], 0));
    let nowhere = build(off().store("redis+unix:///nowhere.sock"));
    assert_eq!(bodies(&serve(&nowhere), "/denied", 2), [UNCOUNTED; 2]);
    assert_eq!(actix_web::rt::System::new().block_on(nowhere.ping()), Ok(()));
}

#[cfg(feature = "redis")]
#[test]
fn in_shadow_redis_counts_and_nothing_is_refused() {
    let redis = RedisServer::on_socket();
    let server = serve(&build(shadow().deadline(PATIENCE).store(redis.url())));
    for path in ["/two", "/answered"] {
        assert_eq!(bodies(&server, path, 5), [COUNTED, COUNTED, OVER, OVER, OVER], "{path}");
    }
    let enforcing = serve(&build(RateLimiter::builder().deadline(PATIENCE).store(redis.url())));
    assert_eq!(enforcing.statuses("/two", 2), [429; 2], "they share their counters");
    assert_eq!(bodies(&server, "/two", 2), [OVER; 2]);
}

#[cfg(feature = "redis")]
#[test]
fn in_shadow_a_store_that_fails_refuses_nothing() {
    use ratelimit_runtime::OnStoreError;

    let mut redis = RedisServer::on_socket();
    redis.kill();
    let limiter = shadow().on_store_error(OnStoreError::Deny).store(redis.url());
    let server = serve(&build(limiter));
    for path in ["/denied", "/default"] {
        assert_eq!(bodies(&server, path, 4), ["counted false, over false, degraded true"; 4], "{path}");
    }
    redis.restart();
    wait::until("Redis counts", || server.get("/denied").body != "counted false, over false, degraded true");
    assert_eq!(server.get("/denied").status, 200);
}
