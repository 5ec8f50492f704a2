//! `RateLimitState::settle`: the true cost replaces the one that was charged in advance.

use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpMessage, HttpRequest, HttpResponse, Responder};
use actix_web::{body::MessageBody, dev::ServiceRequest, dev::ServiceResponse, middleware::Next};
#[cfg(feature = "redis")]
use ratelimit_runtime::RateLimiter;
use ratelimit_runtime::{Policy, RateLimit, RateLimitHeaders, RateLimitState, Subject, policy, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::wait;
#[cfg(feature = "redis")]
use ratelimit_tests::{redis_cluster::RedisCluster, redis_server::RedisServer};

use crate::store::each_store::Shared;
use crate::{START, in_memory, window_end};

/// Windows that end in the year 2038, so no test meets their edge. One token of GCRA takes weeks to come back.
static FIXED: Policy = policy!(limit = 10, per = 1_073_741_823, key = "settled fixed", scope = "header:x-id", cost = 3);
static SLIDING: Policy = policy!(
    limit = 10,
    per = 1_073_741_823,
    key = "settled sliding",
    scope = "header:x-id",
    cost = 3,
    algorithm = "sliding-window"
);
static GCRA: Policy = policy!(
    limit = 10,
    per = 7_776_000,
    burst = 10,
    key = "settled gcra",
    scope = "header:x-id",
    cost = 3,
    algorithm = "gcra"
);
static LEASED: Policy =
    policy!(limit = 100, per = 1_073_741_823, key = "settled lease", scope = "header:x-id", cost = 3, lease = 9);
/// Two rules with a cost, of two scopes, and one that counts requests.
static SEVERAL: Policy = policy!(
    (limit = 10, per = 1_073_741_823, scope = "header:x-id", cost = 3),
    (limit = 20, per = 1_073_741_822, scope = "header:x-other", cost = 1, algorithm = "sliding-window"),
    (limit = 100, per = 1_073_741_821, scope = "header:x-id"),
    key = "settled several"
);

fn subject(id: &str) -> Subject {
    Subject::new().header("x-id", id).header("x-other", id)
}

impl Shared {
    /// What remains of each rule, as `there` sees it.
    fn left(&self, policy: &'static Policy, id: &str) -> Vec<u32> {
        let peek = self.wait_for(self.limiters[1].peek(policy, &subject(id))).expect("a store");
        peek.rules().map(|rule| rule.remaining()).collect()
    }

    /// Checks, and settles at each of these costs. Returns what the state shows then.
    fn settle(&self, policy: &'static Policy, id: &str, costs: &[u64]) -> Vec<u32> {
        self.wait_for(async {
            let mut state = self.limiters[0].check(policy, &subject(id)).await.expect("a store");
            assert!(state.is_admitted());
            costs.iter().for_each(|cost| state.settle(*cost));
            state.rules().map(|rule| rule.remaining()).collect()
        })
    }

    fn admits(&self, policy: &'static Policy, id: &str) -> bool {
        self.wait_for(self.limiters[1].check(policy, &subject(id))).expect("a store").is_admitted()
    }

    fn assert_settles(&self, policy: &'static Policy, id: &str, costs: &[u64], left: &[u32]) {
        let text = format!("{} {policy:?} {costs:?}", self.name);
        assert_eq!(self.settle(policy, id, costs), left, "{text}");
        let mut last = Vec::new();
        let settled = wait::holds(|| {
            last = self.left(policy, id);
            last == left
        });
        assert!(settled, "{text}: {last:?} are left, and not {left:?}");
    }
}

fn nothing(_: &mut ServiceConfig) {}

fn in_each_store(test: impl Fn(&Shared)) {
    test(&Shared::in_memory(nothing));
    #[cfg(feature = "redis")]
    {
        let redis = RedisServer::on_socket();
        test(&Shared::in_redis(&redis, nothing));
        assert_eq!(redis.keys_without_expiry(), [""; 0]);
        let cluster = RedisCluster::steady();
        test(&Shared::in_cluster(&cluster, nothing));
        assert_eq!(cluster.keys_without_expiry(), [""; 0]);
    }
}

#[test]
fn the_true_cost_replaces_the_charge_in_each_store() {
    in_each_store(|store| {
        for policy in [&FIXED, &SLIDING, &GCRA] {
            store.assert_settles(policy, "less", &[1], &[9]);
            store.assert_settles(policy, "nothing", &[0], &[10]);
            store.assert_settles(policy, "equal", &[3], &[7]);
            store.assert_settles(policy, "more", &[8], &[2]);
            assert!(!store.admits(policy, "more"), "{}", store.name);
            assert!(store.admits(policy, "less"), "{}", store.name);
        }
    });
}

#[test]
fn a_cost_beyond_the_limit_refuses_the_next_requests() {
    in_each_store(|store| {
        for policy in [&FIXED, &SLIDING, &GCRA] {
            store.assert_settles(policy, "beyond", &[30], &[0]);
            assert!(!store.admits(policy, "beyond"), "{}", store.name);
            store.assert_settles(policy, "far beyond", &[u64::MAX], &[0]);
            assert!(!store.admits(policy, "far beyond"), "{}", store.name);
        }
    });
}

#[test]
fn of_several_costs_the_last_counts() {
    in_each_store(|store| {
        for policy in [&FIXED, &SLIDING, &GCRA] {
            store.assert_settles(policy, "down", &[30, 4], &[6]);
            store.assert_settles(policy, "up", &[1, 30, 8], &[2]);
            store.assert_settles(policy, "from nothing", &[0, 2], &[8]);
            store.assert_settles(policy, "far", &[u64::MAX, u64::MAX, 1], &[9]);
        }
    });
}

#[test]
fn costs_that_are_settled_one_after_the_other_replace_each_other() {
    in_each_store(|store| {
        for policy in [&FIXED, &SLIDING, &GCRA] {
            // Another request has taken 3 of the 10.
            assert!(store.admits(policy, "steps"));
            let state = store.wait_for(store.limiters[0].check(policy, &subject("steps")));
            let mut state = state.expect("a store");
            // The charge of the other is no part of it.
            for (cost, left) in [(0, 7), (2, 5), (40, 0), (1, 6), (7, 0), (3, 4)] {
                store.wait_for(async { state.settle(cost) });
                assert_eq!(state.remaining(), left, "{} {policy:?} {cost}", store.name);
                wait::until("the store is told", || store.left(policy, "steps") == [left]);
            }
        }
    });
}

#[test]
fn each_rule_with_a_cost_is_settled_and_no_other() {
    in_each_store(|store| {
        store.assert_settles(&SEVERAL, "several", &[6], &[4, 14, 99]);
        store.assert_settles(&SEVERAL, "beyond", &[15], &[0, 5, 99]);
    });
}

#[test]
fn a_charge_from_a_lease_is_settled() {
    in_each_store(|store| {
        let states: Vec<RateLimitState> = (0..8)
            .map(|_| store.wait_for(store.limiters[0].check(&LEASED, &subject("leased"))).expect("a store"))
            .collect();
        assert!(states.iter().all(RateLimitState::is_admitted));
        for mut state in states {
            store.wait_for(async { state.settle(10) });
        }
        // The worker gives up its tokens at its next check.
        wait::until("all charges are settled", || {
            let checked = store.wait_for(store.limiters[0].check(&LEASED, &subject("other")));
            assert!(checked.expect("a store").rules().len() == 1);
            store.left(&LEASED, "leased") == [20]
        });
    });
}

/// Settles at the costs in the query, such as `8,2`.
fn settle_as_asked(request: &HttpRequest, state: &mut RateLimitState) {
    request.query_string().split(',').filter_map(|cost| cost.parse().ok()).for_each(|cost| state.settle(cost));
}

#[ratelimit("10/minute", scope = "global", cost = 3)]
async fn handler(request: HttpRequest, mut state: RateLimitState) -> String {
    settle_as_asked(&request, &mut state);
    state.remaining().to_string()
}

#[ratelimit("10/minute", scope = "global", cost = 3, count_if = never)]
async fn refunded(request: HttpRequest, mut state: RateLimitState) -> String {
    settle_as_asked(&request, &mut state);
    state.remaining().to_string()
}

#[ratelimit("10/minute", scope = "global")]
async fn without_cost(request: HttpRequest, mut state: RateLimitState) -> String {
    settle_as_asked(&request, &mut state);
    state.remaining().to_string()
}

#[ratelimit("10/minute", scope = "global", cost = of_query)]
async fn by_function(mut state: RateLimitState) -> String {
    state.settle(4);
    state.remaining().to_string()
}

/// The rule of places comes first, and has no cost.
#[ratelimit(concurrency = 2, scope = "global")]
#[ratelimit("10/minute", scope = "global", cost = 3)]
async fn beside_places(mut state: RateLimitState) -> String {
    state.settle(8);
    state.remaining().to_string()
}

fn of_query(request: &HttpRequest) -> u64 {
    request.query_string().parse().unwrap_or(0)
}

#[ratelimit("10/minute", scope = "global", cost = 6, over_limit = "allow")]
async fn watched(mut state: RateLimitState) -> String {
    state.settle(4);
    state.remaining().to_string()
}

fn never(_: &HttpResponse) -> bool {
    false
}

#[test]
fn the_headers_show_the_true_cost() {
    let server = Served::limited(&in_memory().0, |config| {
        config.route("/handler", web::get().to(handler)).route("/none", web::get().to(without_cost));
        config.route("/places", web::get().to(beside_places));
        config.route("/function", web::get().to(by_function)).route("/watched", web::get().to(watched));
    });
    let ask = |path: &str| {
        let reply = server.get(path);
        (reply.status, reply.body.clone(), reply.x_headers())
    };
    let reset = window_end(START, 60);
    assert_eq!(ask("/handler?1"), (200, "9".to_owned(), (10, 9, reset)));
    assert_eq!(ask("/handler?20,4"), (200, "5".to_owned(), (10, 5, reset)));
    assert_eq!(ask("/handler?20"), (200, "0".to_owned(), (10, 0, reset)));
    assert_eq!(server.get("/handler").status, 429);
    // Only what has a cost is settled.
    assert_eq!(ask("/none?7"), (200, "9".to_owned(), (10, 9, reset)));
    // A cost that is known to be 0 in advance is settled, too.
    assert_eq!(ask("/function?0"), (200, "6".to_owned(), (10, 6, reset)));
    assert_eq!(ask("/function?6"), (200, "2".to_owned(), (10, 2, reset)));
    assert_eq!(ask("/places"), (200, "2".to_owned(), (10, 2, reset)));
    assert_eq!(server.get("/places").status, 429);
    // A request that only a watching rule is over was not charged.
    for left in [6, 2, 2] {
        assert_eq!(ask("/watched"), (200, left.to_string(), (10, left, reset)));
    }
}

/// Settles after the handler, at the cost in the header `x-settle`.
async fn settling<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let cost = request.headers().get("x-settle").and_then(|cost| cost.to_str().ok()?.parse().ok());
    let response = next.call(request).await?;
    if let (Some(cost), Some(state)) = (cost, response.request().extensions_mut().get_mut::<RateLimitState>()) {
        state.settle(cost);
    }
    Ok(response)
}

static API: Policy = policy!("20/minute", key = "settled api", scope = "global", cost = 1);

/// Asks, and returns what remains.
macro_rules! ask {
    ($app:expr, $path:expr, $cost:expr) => {{
        let request = TestRequest::get().uri($path).insert_header(("x-settle", $cost)).to_request();
        let response = call_service(&$app, request).await;
        let remaining = response.headers().get("x-ratelimit-remaining").expect("a header").to_str();
        remaining.expect("text").parse::<u32>().expect("a number")
    }};
}

#[actix_web::test]
async fn a_middleware_settles() {
    let app = App::new()
        .app_data(in_memory().0)
        .wrap(from_fn(settling))
        .wrap(RateLimitHeaders::default())
        .route("/handler", web::get().to(handler));
    let app = init_service(app).await;
    assert_eq!(ask!(app, "/handler", "1"), 9);
    // The last cost counts: that of the middleware.
    assert_eq!(ask!(app, "/handler?9", "2"), 7);
}

#[actix_web::test]
async fn a_refunded_charge_is_not_settled_again() {
    let app = App::new()
        .app_data(in_memory().0)
        .wrap(from_fn(settling))
        .wrap(RateLimitHeaders::default())
        .route("/refunded", web::get().to(refunded));
    let app = init_service(app).await;
    // First the handler settles, then the response does not count, then the middleware settles.
    for path in ["/refunded", "/refunded?9", "/refunded?30,1"] {
        assert_eq!(ask!(app, path, "5"), 10, "{path}");
    }
}

#[actix_web::test]
async fn the_limit_of_an_application_and_that_of_a_handler_are_settled_together() {
    let limiter = in_memory().0;
    let app = App::new()
        .app_data(limiter.clone())
        .wrap(RateLimit::new(&API))
        .wrap(RateLimitHeaders::default())
        .route("/handler", web::get().to(handler))
        .route("/none", web::get().to(without_cost));
    let app = init_service(app).await;
    assert_eq!(ask!(app, "/handler?8", ""), 2);
    assert_eq!(limiter.peek(&API, &Subject::new()).await.expect("memory").remaining(), 12);
    assert_eq!(ask!(app, "/none?9", ""), 3);
}

fn settles_anyway(_: &HttpRequest, state: &RateLimitState) -> impl Responder {
    let mut state = state.clone();
    state.settle(0);
    state.settle(50);
    HttpResponse::TooManyRequests()
}

#[ratelimit("10/minute", scope = "global", cost = 6, over_limit = settles_anyway)]
async fn refused() -> impl Responder {
    HttpResponse::Ok()
}

#[test]
fn a_refused_request_has_nothing_to_settle() {
    let server = Served::limited(&in_memory().0, |config| {
        config.route("/", web::get().to(refused));
    });
    for (status, remaining) in [(200, 4), (429, 4), (429, 4)] {
        let reply = server.get("/");
        assert_eq!((reply.status, reply.x_headers().1), (status, remaining));
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_cost_beyond_the_limit_is_remembered_when_the_store_fails() {
    let mut redis = RedisServer::on_port();
    let limiter = RateLimiter::builder().store(redis.url()).deadline(wait::PATIENCE / 10).build().expect("a URL");
    let runtime = actix_web::rt::Runtime::new().expect("a runtime");
    let check = || runtime.block_on(limiter.check(&FIXED, &subject("outage"))).expect("a decision");
    let mut state = check();
    assert!(!state.is_degraded());
    runtime.block_on(async { state.settle(30) });
    let left = || runtime.block_on(limiter.peek(&FIXED, &subject("outage"))).map(|state| state.remaining());
    wait::until("the store is told", || left() == Ok(0));
    redis.kill();
    let degraded = check();
    assert_eq!((degraded.is_degraded(), degraded.is_admitted()), (true, false));
}

#[cfg(feature = "redis")]
#[test]
fn a_charge_that_was_made_without_the_store_is_settled_without_it() {
    let mut redis = RedisServer::on_port();
    redis.kill();
    let limiter = RateLimiter::builder().store(redis.url()).build().expect("a URL");
    let server = Served::limited_by(&limiter, 1, |config| {
        config.route("/handler", web::get().to(handler));
    });
    wait::until("the minute is not about to end", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        now.as_secs() % 60 < 50
    });
    for (path, status, remaining) in [("/handler?1", 200, 9), ("/handler?20", 200, 0), ("/handler", 429, 0)] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.x_headers().1), (status, remaining), "{path}");
    }
}
