//! `rate = …`: limits that depend on the request, such as the caller's plan.

use std::process::Command;
use std::time::Duration;

use actix_web::error::ErrorPaymentRequired;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, Responder};
use ratelimit_runtime::{Policy, Rate, RateLimitHeaders, RateLimitState, Subject, policy, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::in_memory;
use crate::store::each_store::Shared;

static PLANS: Policy = policy!(rate = plan, scope = "user", key = "plans: shared");

/// The rate that the client asks for in `x-plan`; `none` is no limit.
fn plan(request: &HttpRequest) -> Result<Option<Rate>, Error> {
    match request.headers().get("x-plan").and_then(|plan| plan.to_str().ok()) {
        Some("none") => Ok(None),
        Some("unpaid") => Err(ErrorPaymentRequired("pay first")),
        Some("zero") => Ok(Some(Rate::per_minute(0))),
        Some("half a second") => Ok(Some(Rate::new(5, Duration::from_millis(500)))),
        Some("forever") => Ok(Some(Rate::new(5, Duration::MAX))),
        Some("burst") => Ok(Some(Rate::per_hour(60).burst(3))),
        Some("no burst") => Ok(Some(Rate::per_hour(60).burst(0))),
        Some(text) => Ok(Some(text.parse()?)),
        None => Ok(Some(Rate::per_hour(2))),
    }
}

async fn plan_of_path(path: web::Path<u32>) -> Rate {
    Rate::per_hour(path.into_inner())
}

fn rows(request: &HttpRequest) -> u32 {
    request.query_string().parse().unwrap_or(1)
}

#[ratelimit(rate = plan, scope = "user")]
async fn planned(state: RateLimitState) -> String {
    state.rules().map(|rule| rule.name().into_owned()).collect()
}

#[ratelimit(policy = PLANS)]
async fn shared() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(rate = plan, scope = "user", algorithm = "sliding-window", cost = rows)]
async fn sliding() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(rate = plan, scope = "user", algorithm = "gcra", cost = 2)]
async fn bucket() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(rate = plan, scope = "user", lease = 100)]
async fn leased() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit("3/hour", scope = "user")]
#[ratelimit(rate = plan, scope = "user")]
async fn beside_another() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(rate = plan_of_path, scope = "global")]
async fn extracted() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/planned", web::get().to(planned)).route("/shared", web::get().to(shared));
    config.route("/sliding", web::get().to(sliding)).route("/bucket", web::get().to(bucket));
    config.route("/leased", web::get().to(leased)).route("/beside", web::get().to(beside_another));
    config.route("/extracted/{limit}", web::get().to(extracted));
}

fn ask(server: &Served, path: &str, user: &str, plan: &str) -> Reply {
    server.get_with(path, &[("X-User", user), ("X-Plan", plan)])
}

/// The status, and the limit and what remains in the headers.
fn told(reply: &Reply) -> (u16, u64, u64) {
    let (limit, remaining, _) = reply.x_headers();
    (reply.status, limit, remaining)
}

fn each_request_has_its_own_rate(store: &Shared) {
    for (user, plan, limit) in [("alice", "2/hour", 2), ("bob", "5/hour", 5)] {
        for used in 1..=limit {
            assert_eq!(told(&ask(&store.here, "/planned", user, plan)), (200, limit, limit - used), "{}", store.name);
        }
        assert_eq!(told(&ask(&store.there, "/planned", user, plan)), (429, limit, 0), "{}", store.name);
    }
    for _ in 0..20 {
        let reply = ask(&store.here, "/planned", "alice", "none");
        assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (200, None), "{}: {reply:?}", store.name);
    }
    assert_eq!(ask(&store.here, "/planned", "alice", "unpaid").status, 402);
}

fn an_upgrade_takes_effect_at_once(store: &Shared) {
    for path in ["/shared", "/sliding", "/leased"] {
        assert_eq!(told(&ask(&store.here, path, "carol", "2/hour")), (200, 2, 1), "{path}, {}", store.name);
        assert_eq!(told(&ask(&store.there, path, "carol", "2/hour")), (200, 2, 0), "{path}, {}", store.name);
        // Often enough that every cache knows.
        for server in [&store.here, &store.there, &store.here, &store.there] {
            assert_eq!(told(&ask(server, path, "carol", "2/hour")), (429, 2, 0), "{path}, {}", store.name);
        }
        for (server, left) in [(&store.here, 2), (&store.there, 1), (&store.here, 0)] {
            let upgraded = ask(server, path, "carol", "5/hour");
            assert_eq!((upgraded.status, upgraded.x_headers().0), (200, 5), "{path}, {}: {upgraded:?}", store.name);
            // A lease may be taken from what remains.
            if path != "/leased" {
                assert_eq!(upgraded.x_headers().1, left, "{path}, {}", store.name);
            }
        }
        assert_eq!(told(&ask(&store.here, path, "carol", "5/hour")), (429, 5, 0), "{path}, {}", store.name);
        // And a downgrade, too.
        assert_eq!(told(&ask(&store.there, path, "carol", "3/hour")), (429, 3, 0), "{path}, {}", store.name);
        // Another window is another count.
        assert_eq!(ask(&store.here, path, "carol", "3/day").status, 200, "{path}, {}", store.name);
    }
}

fn costs_and_other_rules_work_with_it(store: &Shared) {
    assert_eq!(told(&ask(&store.here, "/sliding?4", "dave", "5/hour")), (200, 5, 1), "{}", store.name);
    assert_eq!(told(&ask(&store.here, "/sliding?2", "dave", "5/hour")), (429, 5, 1), "{}", store.name);
    // Three at once, and two for each request.
    assert_eq!(told(&ask(&store.here, "/bucket", "dave", "burst")), (200, 3, 1), "{}", store.name);
    assert_eq!(told(&ask(&store.here, "/bucket", "dave", "burst")), (429, 3, 1), "{}", store.name);
    // A cost above the rate never fits.
    assert_eq!(told(&ask(&store.here, "/bucket", "eve", "1/hour")), (429, 1, 1), "{}", store.name);
    // All or nothing with the rule beside it.
    assert_eq!(told(&ask(&store.here, "/beside", "dave", "1/hour")), (200, 1, 0), "{}", store.name);
    assert_eq!(told(&ask(&store.here, "/beside", "dave", "1/hour")), (429, 1, 0), "{}", store.name);
    assert_eq!(told(&ask(&store.here, "/beside", "dave", "none")), (200, 3, 1), "{}", store.name);
    assert_eq!(told(&ask(&store.here, "/beside", "dave", "9/day")), (200, 3, 0), "{}", store.name);
    assert_eq!(told(&store.here.get("/extracted/7")), (200, 7, 6), "{}", store.name);
}

fn each(store: &Shared) {
    each_request_has_its_own_rate(store);
    an_upgrade_takes_effect_at_once(store);
    costs_and_other_rules_work_with_it(store);
}

#[test]
fn plans_work_in_memory() {
    each(&Shared::in_memory(routes));
}

#[cfg(feature = "redis")]
#[test]
fn plans_work_in_redis() {
    let redis = RedisServer::on_socket();
    each(&Shared::in_redis(&redis, routes));
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[cfg(feature = "redis")]
#[test]
fn plans_work_in_a_cluster() {
    let cluster = RedisCluster::start();
    each(&Shared::in_cluster(&cluster, routes));
}

#[test]
fn headers_and_body_speak_of_the_rate_of_the_request() {
    let (limiter, _clock) = in_memory();
    let server = Served::start(move |listener| {
        let app = move || {
            App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default().ietf()).configure(|config| {
                config.route("/{limit}", web::get().to(extracted));
            })
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    for limit in [1, 2] {
        let reply = server.get(&format!("/{limit}"));
        let policy = format!("\"global+plan_of_path:{limit}/3600s\";q={limit};w=3600");
        assert_eq!((reply.status, reply.header("ratelimit-policy")), (200, Some(&*policy)));
    }
    // A response of one rate is not kept for another.
    for limit in [1, 2, 1] {
        let refused = server.get(&format!("/{limit}"));
        assert_eq!(refused.status, 429);
        assert!(refused.body.contains(&format!("[\"global+plan_of_path:{limit}/3600s\"]")), "{}", refused.body);
    }
}

#[test]
fn a_rate_out_of_range_is_answered_500_and_admits_nobody() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/planned", web::get().to(out_of_range)).route("/bucket", web::get().to(out_of_range_bucket));
    });
    for plan in ["zero", "half a second", "forever"] {
        let reply = ask(&server, "/planned", "alice", plan);
        assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/problem+json")), "{plan}");
    }
    assert_eq!(ask(&server, "/bucket", "alice", "no burst").status, 500);
    assert_eq!(ask(&server, "/planned", "alice", "no burst").status, 200, "a window has no burst");
}

#[ratelimit(rate = plan)]
async fn out_of_range() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(rate = plan, algorithm = "gcra")]
async fn out_of_range_bucket() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn the_log_tells_once_of_a_rate_out_of_range() {
    let mut app = Process::start(Command::new(env!("CARGO_BIN_EXE_app")).env("APP_STORE", "memory://"));
    for _ in 0..3 {
        assert_eq!(app.get("/by-rate").status, 500);
    }
    app.kill();
    let words = ["ERROR", "no_rate", "must be at least 1", "(RL025)"];
    assert_eq!(app.lines_with(&words), 1, "{:#?}", app.output());
    assert_eq!(app.lines_with(&["ERROR"]), 1, "{:#?}", app.output());
}

#[test]
fn a_program_says_the_rate_of_a_subject() {
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let (limiter, _clock) = in_memory();
    let alice = Subject::new().user("alice");
    runtime.block_on(async {
        let missing = limiter.check(&PLANS, &alice).await.expect_err("a rate is missing");
        assert!(missing.to_string().contains("rate(\"plan\", …)"), "{missing}");
        let state = limiter.check(&PLANS, &alice.clone().rate("plan", Rate::per_hour(7))).await.expect("memory");
        assert_eq!((state.limit(), state.remaining()), (7, 6));
        let unlimited = limiter.check(&PLANS, &alice.clone().rate("plan", None)).await.expect("memory");
        assert_eq!((unlimited.is_admitted(), unlimited.is_counted(), unlimited.remaining()), (true, false, u32::MAX));
        let left = limiter.peek(&PLANS, &alice.clone().rate("plan", Rate::per_hour(3))).await.expect("memory");
        assert_eq!(left.remaining(), 2);
        let wrong = limiter.check(&PLANS, &alice.rate("plan", Rate::per_hour(0))).await.expect_err("out of range");
        assert!(wrong.to_string().contains("at least 1"), "{wrong}");
    });
}

#[test]
fn a_rate_is_parsed_as_the_attribute_reads_it() {
    for (text, expected) in [
        ("300/5m", Rate::new(300, Duration::from_secs(300))),
        ("4/1h", Rate::per_hour(4)),
        ("10 per second", Rate::per_second(10)),
        ("20 per 2 hours", Rate::new(20, Duration::from_secs(7200))),
        ("3/minute", Rate::per_minute(3)),
        ("100/d", Rate::per_day(100)),
        ("2 per 3 weeks", Rate::new(2, Duration::from_secs(1_814_400))),
        ("5/month", Rate::new(5, Duration::from_secs(2_592_000))),
        ("5/year", Rate::new(5, Duration::from_secs(31_536_000))),
        ("  10  PER  5  Minutes ", Rate::new(10, Duration::from_secs(300))),
        ("4294967295/2147483647s", Rate::new(u32::MAX, Duration::from_secs(2_147_483_647))),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text:?}");
    }
    for text in [
        "",
        "10",
        "/s",
        "10 second",
        "10//s",
        "10/s/s",
        "10/1h 30m",
        "-1/s",
        "1.5/s",
        "10é/s",
        "10 éé",
        "١٠/s",
        "10/",
        "10/5",
        "10/fortnight",
        "10/M",
        "10/ss",
        "0/s",
        "4294967296/s",
        "10/0s",
        "10/2147483648s",
        "10/69 years",
        "10/s; 100/h",
        "99999999999999999999999/s",
        "10/99999999999999999999s",
        "10pér/s",
    ] {
        let error = text.parse::<Rate>().expect_err(text).to_string();
        assert!(error.contains("600/minute") && (text.len() < 7 || !error.contains(text)), "{text:?}: {error}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn plans_of_one_subject_leave_one_key_for_each_window() {
    let redis = RedisServer::on_socket();
    let store = Shared::in_redis(&redis, routes);
    for plan in ["2/hour", "5/hour", "7/hour", "9/day"] {
        wait::until("the worker asks Redis", || ask(&store.here, "/shared", "frank", plan).status == 200);
    }
    assert_eq!(redis.keys().len(), 2, "{:?}", redis.keys());
}
