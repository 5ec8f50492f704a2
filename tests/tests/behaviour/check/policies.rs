//! Policies as values: on handlers, alone or with other limits, and in checks that a program makes itself.

use std::net::IpAddr;
#[cfg(feature = "redis")]
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{CheckError, Policy, RateLimit, RateLimiter, Subject, policy, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::store::each_store::Shared;

static LOGIN: Policy = policy!("3/hour", key = "policies: login", scope = "ip");
static API: Policy =
    policy!(("5/hour", scope = "header:X-Api-Key"), ("100/day", scope = tenant), key = "policies: api");
static SCOPED: Policy = policy!("3/hour", key = "policies: scoped", scope = "ip");
static USERS: Policy = policy!("2/hour", key = "policies: users", scope = "user");
#[cfg(feature = "redis")]
static DENIED: Policy = policy!("2/hour", key = "policies: denied", scope = "global", on_store_error = "deny");
static COSTS: Policy = policy!("10/hour", key = "policies: costs", scope = "global", cost = rows);
static FAILS: Policy = policy!("10/hour", key = "policies: fails", scope = fails);

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn tenant(request: &HttpRequest) -> String {
    request.headers().get("x-tenant").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn rows(request: &HttpRequest) -> u32 {
    request.query_string().parse().unwrap_or(1)
}

fn fails(_: &HttpRequest) -> Result<String, actix_web::Error> {
    Err(actix_web::error::ErrorForbidden("no tenant"))
}

#[ratelimit(policy = LOGIN)]
async fn login() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(policy = LOGIN)]
async fn password() -> impl Responder {
    HttpResponse::Ok()
}

/// The counter of the policy, by its key.
#[ratelimit("3/hour", key = "policies: login")]
async fn by_name() -> impl Responder {
    HttpResponse::Ok()
}

#[ratelimit(policy = LOGIN)]
#[ratelimit("2/hour", scope = "header:X-Id")]
#[ratelimit(policy = API)]
async fn combined() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/login", web::get().to(login)).route("/password", web::get().to(password));
    let scope = web::scope("/scoped").wrap(RateLimit::new(&SCOPED).except(["/free"]));
    config.service(scope.route("/", web::get().to(unlimited)).route("/free", web::get().to(unlimited)));
    config.route("/name", web::get().to(by_name)).route("/combined", web::get().to(combined));
}

async fn unlimited() -> impl Responder {
    HttpResponse::Ok()
}

/// A policy, a subject, and what is left.
async fn left(limiter: &RateLimiter, policy: &'static Policy, subject: &Subject) -> Vec<u32> {
    let state = limiter.peek(policy, subject).await.expect("a store");
    state.rules().map(ratelimit_runtime::RuleState::remaining).collect()
}

fn handlers_share_a_policy(store: &Shared) {
    let here = Subject::new().ip(HERE);
    let left = || store.wait_for(left(&store.limiters[1], &LOGIN, &here));
    assert_eq!(left(), [3], "{}", store.name);
    for (path, remaining) in [("/login", 2), ("/password", 1), ("/name", 0)] {
        assert_eq!(store.here.get(path).x_headers().1, remaining, "{path}, {}", store.name);
        assert_eq!(left(), [u32::try_from(remaining).expect("few")], "{path}, {}", store.name);
    }
    for path in ["/login", "/password", "/name", "/combined"] {
        assert_eq!(store.there.get(path).status, 429, "{path}, {}", store.name);
    }
    store.wait_for(store.limiters[0].reset(&LOGIN, &here)).expect("a store");
    assert_eq!(left(), [3], "{}", store.name);
}

fn all_rules_are_one_decision(store: &Shared) {
    let ask = |id: &str| store.here.get_with("/combined", &[("X-Id", id), ("X-Api-Key", "k"), ("X-Tenant", "t")]);
    let api = Subject::new().header("x-api-key", "k").part("tenant", "t");
    let left_of = |policy, subject: &Subject| store.wait_for(left(&store.limiters[1], policy, subject));
    assert_eq!([ask("a").status, ask("a").status, ask("a").status], [200, 200, 429], "{}", store.name);
    // The refusals of the rule for the header have cost the other rules nothing.
    assert_eq!(left_of(&LOGIN, &Subject::new().ip(HERE)), [1], "{}", store.name);
    assert_eq!(left_of(&API, &api), [3, 98], "{}", store.name);
    assert_eq!([ask("b").status, ask("b").status], [200, 429], "{}", store.name);
    assert_eq!(left_of(&API, &api), [2, 97], "{}", store.name);
    store.wait_for(store.limiters[0].reset(&LOGIN, &Subject::new().ip(HERE))).expect("a store");
    store.wait_for(store.limiters[0].reset(&API, &api)).expect("a store");
    assert_eq!(left_of(&API, &api), [5, 100], "{}", store.name);
}

fn a_program_checks_for_itself(store: &Shared) {
    let [here, there] = &store.limiters;
    let alice = Subject::new().user("alice");
    let check = |limiter: &RateLimiter| store.wait_for(limiter.check(&USERS, &alice)).expect("a store");
    let first = check(here);
    assert!(first.is_admitted() && !first.is_over());
    assert_eq!((first.limit(), first.remaining()), (2, 1), "{}", store.name);
    assert!(check(there).is_admitted());
    for limiter in [here, there] {
        let refused = check(limiter);
        assert!(!refused.is_admitted() && refused.is_over(), "{}", store.name);
        let response = refused.to_response();
        assert_eq!(
            (response.status(), response.headers().contains_key("retry-after")),
            (429.try_into().expect("a status"), true)
        );
    }
    assert_eq!(store.wait_for(left(here, &USERS, &Subject::new().user("bob"))), [2], "{}", store.name);
    store.wait_for(there.reset(&USERS, &alice)).expect("a store");
    assert_eq!(store.wait_for(left(here, &USERS, &alice)), [2], "{}", store.name);
}

fn a_middleware_counts_for_all_servers(store: &Shared) {
    let here = Subject::new().ip(HERE);
    assert_eq!([store.here.get("/scoped/"), store.there.get("/scoped/")].map(|it| it.x_headers().1), [2, 1]);
    assert_eq!((store.here.get("/scoped/nowhere").status, store.there.get("/scoped/").status), (404, 429));
    assert_eq!(store.here.get("/scoped/free").status, 200, "{}", store.name);
    assert_eq!(store.wait_for(left(&store.limiters[1], &SCOPED, &here)), [0], "{}", store.name);
}

fn each(store: &Shared) {
    a_middleware_counts_for_all_servers(store);
    handlers_share_a_policy(store);
    all_rules_are_one_decision(store);
    a_program_checks_for_itself(store);
}

#[test]
fn a_policy_is_one_limit_wherever_it_is_used_in_memory() {
    each(&Shared::in_memory(routes));
}

#[cfg(feature = "redis")]
#[test]
fn a_policy_is_one_limit_wherever_it_is_used_in_redis() {
    let redis = RedisServer::on_socket();
    each(&Shared::in_redis(&redis, routes));
}

#[cfg(feature = "redis")]
#[test]
fn a_policy_is_one_limit_wherever_it_is_used_in_a_cluster() {
    let cluster = RedisCluster::start();
    each(&Shared::in_cluster(&cluster, routes));
}

#[actix_web::test]
async fn a_value_that_the_subject_lacks_is_an_error_that_names_it() {
    let limiter = RateLimiter::builder().user(|_: &HttpRequest| None::<String>).build().expect("memory");
    let api = || Subject::new().header("X-API-Key", "k");
    for (policy, subject, named) in [
        (&LOGIN, Subject::new(), "ip(address)"),
        (&USERS, Subject::new().ip(HERE), "user(…)"),
        // Nobody is signed in, so the address is needed.
        (&USERS, Subject::new().user(" "), "ip(address)"),
        (&API, Subject::new().ip(HERE).header("x-other", "k"), "header(\"x-api-key\", …)"),
        (&API, Subject::new().header("x-api-key", ""), "ip(address)"),
        (&API, api(), "part(\"tenant\", …)"),
        (&API, api().part("tenant", ""), "ip(address)"),
        (&COSTS, Subject::new(), "cost(\"rows\", …)"),
    ] {
        for error in [
            limiter.check(policy, &subject).await.map(drop),
            limiter.peek(policy, &subject).await.map(drop),
            limiter.reset(policy, &subject).await,
        ] {
            let error = error.expect_err(named);
            assert!(matches!(error, CheckError::Subject { .. }) && error.to_string().contains(named), "{error}");
        }
    }
    assert_eq!(left(&limiter, &API, &api().part("tenant", 7)).await, [5, 100]);
    assert_eq!(left(&limiter, &LOGIN, &Subject::new().ip(HERE)).await, [3], "an error counts nothing");
}

#[actix_web::test]
async fn the_last_value_of_a_name_counts() {
    let limiter = RateLimiter::in_memory();
    let subject = Subject::new().cost("rows", 3).cost("rows", 4);
    assert_eq!(limiter.check(&COSTS, &subject).await.expect("memory").remaining(), 6);
    let refused = limiter.check(&COSTS, &Subject::new().cost("rows", u64::MAX)).await.expect("memory");
    assert!(!refused.is_admitted());
    assert_eq!(refused.remaining(), 6);
}

#[actix_web::test]
async fn the_subject_of_a_request_is_resolved_as_under_the_attribute() {
    let limiter = RateLimiter::builder().user(|_: &HttpRequest| Some("alice")).build().expect("memory");
    let request = actix_web::test::TestRequest::get()
        .uri("/?3")
        .peer_addr("127.0.0.1:80".parse().expect("an address"))
        .insert_header(("X-Api-Key", " k "))
        .insert_header(("X-Tenant", "t"))
        .to_http_request();
    let subject = Subject::of(&request);
    for policy in [&LOGIN, &USERS, &API, &COSTS] {
        assert!(limiter.check(policy, &subject).await.expect("memory").is_admitted());
    }
    let alice = Subject::new().ip(HERE).user("alice").header("x-api-key", "k").part("tenant", "t").cost("rows", 0);
    assert_eq!(left(&limiter, &LOGIN, &alice).await, [2]);
    assert_eq!(left(&limiter, &USERS, &alice).await, [1]);
    assert_eq!(left(&limiter, &API, &alice).await, [4, 99]);
    assert_eq!(left(&limiter, &COSTS, &alice).await, [7]);
    let error = limiter.check(&FAILS, &subject).await.expect_err("the function fails");
    assert_eq!(error, limiter.peek(&FAILS, &subject).await.expect_err("the function fails"));
    assert!(matches!(error, CheckError::Function { .. }) && error.to_string().contains("no tenant"), "{error}");
}

#[cfg(feature = "redis")]
#[actix_web::test]
async fn on_store_error_is_applied_before_a_program_sees_the_state() {
    let mut redis = RedisServer::on_socket();
    let limiter = RateLimiter::open(&redis.url()).expect("a URL");
    let user = Subject::new().user("alice");
    assert!(!limiter.check(&USERS, &user).await.expect("Redis").is_degraded());
    redis.kill();
    let state = limiter.check(&USERS, &user).await.expect("memory stands in");
    assert!(state.is_admitted() && state.is_degraded());
    assert_eq!(limiter.check(&DENIED, &Subject::new()).await.map(drop), Err(CheckError::StoreUnavailable));
    assert_eq!(limiter.peek(&USERS, &user).await.map(drop), Err(CheckError::StoreUnavailable));
    assert_eq!(limiter.reset(&USERS, &user).await, Err(CheckError::StoreUnavailable));
}

/// A job on a runtime with several threads, without Actix.
#[cfg(feature = "redis")]
#[test]
fn a_check_runs_on_any_tokio_runtime() {
    let redis = RedisServer::on_socket();
    let limiter = RateLimiter::builder().deadline(Duration::from_secs(5)).store(redis.url()).build().expect("a URL");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let admitted = runtime.block_on(async {
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    limiter.check(&USERS, &Subject::new().user("carol")).await.expect("Redis").is_admitted()
                })
            })
            .collect();
        let mut admitted = 0;
        for job in jobs {
            admitted += usize::from(job.await.expect("a job"));
        }
        admitted
    });
    assert_eq!(admitted, 2);
}

#[test]
fn a_check_error_answers_without_its_reason() {
    async fn handler(limiter: web::Data<RateLimiter>) -> Result<HttpResponse, CheckError> {
        limiter.check(&USERS, &Subject::new()).await?;
        Ok(HttpResponse::Ok().finish())
    }
    let limiter = RateLimiter::in_memory();
    let data = web::Data::new(limiter.clone());
    let server = Served::limited(&limiter, move |config: &mut ServiceConfig| {
        config.app_data(data.clone()).route("/", web::get().to(handler));
    });
    let reply = server.get("/");
    assert_eq!(reply.status, 500);
    assert!(!format!("{reply:?}").contains("user"), "{reply:?}");
}
