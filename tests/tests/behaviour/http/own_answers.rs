//! `over_limit` and `unavailable` of a limiter: the application's own answers in place of the 429 and the 503.

use actix_web::error::ErrorImATeapot;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, Responder};
use ratelimit_runtime::{
    ManualClock, Policy, RateLimit, RateLimitState, RateLimiter, RateLimiterBuilder, Subject, policy, ratelimit,
};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};

use crate::{START, window_end};

static API: Policy = policy!("1/minute", key = "own answers", scope = "global");

#[ratelimit("1/minute")]
async fn plain() -> impl Responder {
    "hello"
}

#[ratelimit("1/minute", over_limit = of_the_rule)]
async fn with_its_own() -> impl Responder {
    "hello"
}

#[ratelimit("1/minute", over_limit = "allow")]
async fn watched() -> impl Responder {
    "hello"
}

fn of_the_rule(_: &HttpRequest, _: &RateLimitState) -> HttpResponse {
    HttpResponse::TooManyRequests().body("of the rule")
}

fn of_the_limiter(request: &HttpRequest, state: &RateLimitState) -> HttpResponse {
    HttpResponse::TooManyRequests().content_type("text/x-own").body(format!("{} {}", request.path(), state.limit()))
}

fn routes(config: &mut ServiceConfig) {
    config.route("/plain", web::get().to(plain)).route("/own", web::get().to(with_its_own));
    config.route("/watched", web::get().to(watched));
    config.service(
        web::scope("/scope").wrap(RateLimit::new(&API)).route("/free", web::get().to(|| async { "unlimited within" })),
    );
}

fn builder() -> RateLimiterBuilder {
    RateLimiter::builder().clock(ManualClock::new(START))
}

fn serve(builder: RateLimiterBuilder) -> Served {
    Served::limited(&builder.build().expect("a limiter"), routes)
}

fn second(server: &Served, path: &str) -> Reply {
    assert_eq!(server.get(path).status, 200, "{path}");
    server.get(path)
}

#[test]
fn the_limiter_answers_in_place_of_each_429() {
    let server = serve(builder().over_limit(of_the_limiter));
    let wait = (window_end(START, 60) - START).to_string();
    for (path, body) in [("/plain", "/plain 1"), ("/scope/free", "/scope/free 1")] {
        let refusal = second(&server, path);
        assert_eq!((refusal.status, refusal.body.as_str()), (429, body));
        assert_eq!(refusal.header("content-type"), Some("text/x-own"), "{path}");
        assert_eq!(refusal.header("retry-after"), Some(&*wait), "{path}");
        assert_eq!(refusal.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(refusal.x_headers(), (1, 0, window_end(START, 60)), "{path}");
    }
}

#[test]
fn a_rule_with_its_own_answer_keeps_it() {
    let server = serve(builder().over_limit(of_the_limiter));
    let refusal = second(&server, "/own");
    assert_eq!((refusal.status, refusal.body.as_str()), (429, "of the rule"));
    assert_eq!(second(&server, "/watched").status, 200);
}

#[test]
fn a_limiter_in_shadow_asks_no_function_for_an_answer() {
    let server = serve(builder().shadow(true).over_limit(of_the_limiter));
    assert_eq!(second(&server, "/plain").body, "hello");
}

#[test]
fn headers_of_the_function_stay() {
    let own = |_: &HttpRequest, _: &RateLimitState| {
        let mut response = HttpResponse::TooManyRequests();
        response.insert_header(("Retry-After", "604800")).insert_header(("Cache-Control", "private, no-store")).finish()
    };
    let refusal = second(&serve(builder().over_limit(own)), "/plain");
    assert_eq!(refusal.all("retry-after"), ["604800"]);
    assert_eq!(refusal.all("cache-control"), ["private, no-store"]);
}

#[test]
fn another_status_is_sent_as_it_is() {
    let refusal = second(&serve(builder().over_limit(|_: &HttpRequest, _: &RateLimitState| "later")), "/plain");
    assert_eq!((refusal.status, refusal.body.as_str()), (200, "later"));
    assert_eq!((refusal.header("retry-after"), refusal.header("cache-control")), (None, None));
}

async fn like_a_handler(state: RateLimitState, request: HttpRequest) -> impl Responder {
    HttpResponse::TooManyRequests().body(format!("{} over: {}", request.path(), state.is_over()))
}

async fn fails() -> Result<HttpResponse, Error> {
    Err(ErrorImATeapot("short and stout"))
}

async fn takes_the_body(_: web::Bytes) -> HttpResponse {
    HttpResponse::TooManyRequests().finish()
}

#[test]
fn the_function_may_be_written_like_a_handler() {
    let refusal = second(&serve(builder().over_limit(like_a_handler)), "/plain");
    assert_eq!((refusal.status, refusal.body.as_str()), (429, "/plain over: true"));
    assert!(refusal.header("retry-after").is_some());
    let refusal = second(&serve(builder().over_limit(fails)), "/plain");
    assert_eq!((refusal.status, refusal.body.as_str()), (418, "short and stout"));
    assert_eq!(second(&serve(builder().over_limit(takes_the_body)), "/plain").status, 500);
}

#[test]
fn a_state_makes_the_default_response() {
    let limiter = builder().over_limit(of_the_limiter).build().expect("a limiter");
    let routes_of_checks = move |config: &mut ServiceConfig| {
        let limiter = limiter.clone();
        let check = move || {
            let limiter = limiter.clone();
            async move {
                let state = limiter.check(&API, &Subject::new()).await?;
                Ok::<_, Error>(if state.is_admitted() { HttpResponse::Ok().finish() } else { state.to_response() })
            }
        };
        config.route("/check", web::get().to(check));
    };
    let server = Served::start(move |listener| {
        let app = move || App::new().configure(routes_of_checks.clone());
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    assert_eq!(second(&server, "/check").header("content-type"), Some("application/problem+json"));
}

#[cfg(feature = "redis")]
mod unavailable {
    use actix_web::{HttpRequest, HttpResponse};
    use ratelimit_runtime::{OnStoreError, RateLimiter, RateLimiterBuilder};
    use ratelimit_tests::http::Server;
    use ratelimit_tests::redis_server::RedisServer;

    use super::serve;

    /// A limiter whose Redis is dead.
    fn dead() -> RateLimiterBuilder {
        let mut redis = RedisServer::on_port();
        redis.kill();
        RateLimiter::builder().on_store_error(OnStoreError::Deny).store(redis.url())
    }

    fn not_now(request: &HttpRequest) -> HttpResponse {
        HttpResponse::ServiceUnavailable().body(format!("not now: {}", request.path()))
    }

    async fn like_a_handler(request: HttpRequest) -> HttpResponse {
        HttpResponse::ServiceUnavailable().insert_header(("Retry-After", "7")).body(request.path().to_owned())
    }

    #[test]
    fn the_limiter_answers_in_place_of_each_503() {
        let server = serve(dead().unavailable(not_now));
        for path in ["/plain", "/own", "/scope/free"] {
            let refusal = server.get(path);
            assert_eq!((refusal.status, &refusal.body), (503, &format!("not now: {path}")));
            assert_eq!(refusal.header("retry-after"), Some("1"), "{path}");
            assert_eq!(refusal.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(refusal.header("x-ratelimit-limit"), None, "{path}");
        }
    }

    #[test]
    fn the_answer_to_a_dead_store_may_be_written_like_a_handler() {
        let refusal = serve(dead().unavailable(like_a_handler)).get("/plain");
        assert_eq!((refusal.status, refusal.body.as_str(), refusal.header("retry-after")), (503, "/plain", Some("7")));
        let refusal = serve(dead().unavailable(|_: &HttpRequest| "soon")).get("/plain");
        assert_eq!((refusal.status, refusal.body.as_str(), refusal.header("retry-after")), (200, "soon", None));
    }

    #[test]
    fn a_request_that_goes_on_without_the_store_asks_no_function() {
        let server = serve(dead().on_store_error(OnStoreError::Allow).unavailable(not_now));
        assert_eq!((server.get("/plain").status, server.get("/plain").status), (200, 200));
    }
}
