//! The middleware `RateLimit`: the requests that it counts, its exceptions, and other middlewares beside it.

use actix_web::dev::ServiceRequest;
use actix_web::error::ErrorUnauthorized;
use actix_web::http::StatusCode;
use actix_web::middleware::{Logger, NormalizePath, from_fn};
use actix_web::test::{TestRequest, call_service, init_service, try_call_service};
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, Responder};
use ratelimit_runtime::{Policy, RateLimit, RateLimitHeaders, RateLimitState, RateLimiter, policy, ratelimit};

static THREE: Policy = policy!("3/hour", key = "middleware", scope = "global");
static TEN: Policy = policy!("10/hour", key = "middleware of ten", scope = "global");
static FAILURES: Policy = policy!("3/hour", key = "middleware of failures", scope = "global", count_if = failed);

fn failed(response: &HttpResponse) -> bool {
    !response.status().is_success()
}

#[ratelimit("2/hour", scope = "global")]
async fn two(state: RateLimitState) -> String {
    state.rules().map(|rule| format!("{} of {}\n", rule.remaining(), rule.limit())).collect()
}

#[ratelimit("20/hour", scope = "global")]
async fn twenty() -> impl Responder {
    HttpResponse::Ok()
}

async fn unlimited(_: Bytes) -> impl Responder {
    HttpResponse::Ok()
}

/// The status of an answer, and its `X-RateLimit-Limit` and `-Remaining`, each once.
macro_rules! ask {
    ($app:expr, $path:expr) => {
        ask!($app, $path, TestRequest::get())
    };
    ($app:expr, $path:expr, $request:expr) => {{
        let response = match try_call_service(&$app, $request.uri($path).to_request()).await {
            Ok(response) => response.map_into_boxed_body().into_parts().1,
            Err(error) => error.error_response(),
        };
        let number = |name: &str| {
            let values: Vec<_> = response.headers().get_all(name).collect();
            assert!(values.len() <= 1, "{name}: {values:?}");
            values.first().map(|value| value.to_str().expect("text").parse::<u32>().expect("a number"))
        };
        (response.status().as_u16(), number("x-ratelimit-limit"), number("x-ratelimit-remaining"))
    }};
}

macro_rules! app {
    ($wrapped:expr) => {
        init_service(
            App::new()
                .app_data(RateLimiter::in_memory())
                .wrap($wrapped)
                .route("/two", web::get().to(two))
                .route("/twenty", web::get().to(twenty))
                .route("/health", web::get().to(unlimited))
                .route("/static/{file:.*}", web::get().to(unlimited))
                .route("/upload", web::post().to(unlimited)),
        )
        .await
    };
}

#[actix_web::test]
async fn everything_that_reaches_it_counts_also_what_no_route_serves() {
    let app = app!(RateLimit::new(&THREE));
    assert_eq!(ask!(app, "/health"), (200, Some(3), Some(2)));
    assert_eq!(ask!(app, "/nowhere"), (404, Some(3), Some(1)));
    assert_eq!(ask!(app, "/upload"), (404, Some(3), Some(0)));
    for path in ["/health", "/nowhere", "/two"] {
        assert_eq!(ask!(app, path), (429, Some(3), Some(0)), "{path}");
    }
}

#[actix_web::test]
async fn a_refused_request_gets_the_answer_of_the_attribute() {
    let app = app!(RateLimit::new(&THREE));
    for _ in 0..3 {
        call_service(&app, TestRequest::get().uri("/health").to_request()).await;
    }
    let response = call_service(&app, TestRequest::get().uri("/health").to_request()).await;
    let headers = response.headers();
    assert_eq!(headers.get("content-type").expect("a type"), "application/problem+json");
    assert!(headers.contains_key("retry-after") && headers.contains_key("x-ratelimit-reset"), "{headers:?}");
}

#[actix_web::test]
async fn patterns_of_except_are_left_out_and_nothing_else() {
    let app = app!(RateLimit::new(&THREE).except(["/health", "static/{file:.*}"]));
    for path in ["/health", "/static/a/b.css", "/static/", "/health?x=1"] {
        assert_eq!(ask!(app, path), (200, None, None), "{path}");
    }
    // Neither a prefix nor another spelling is the path.
    for (left, path) in [(2, "/healthy"), (1, "/health/"), (0, "/HEALTH")] {
        assert_eq!(ask!(app, path), (404, Some(3), Some(left)), "{path}");
    }
    assert_eq!(ask!(app, "/x/../health").0, 429);
    assert_eq!(ask!(app, "/health").0, 200);
}

#[actix_web::test]
async fn in_a_scope_patterns_are_matched_without_its_prefix() {
    let scope = web::scope("/api")
        .wrap(RateLimit::new(&THREE).except(["/health"]))
        .route("/health", web::get().to(unlimited))
        .route("/other", web::get().to(unlimited));
    let app = init_service(
        App::new().app_data(RateLimiter::in_memory()).service(scope).route("/outside", web::get().to(unlimited)),
    )
    .await;
    assert_eq!(ask!(app, "/api/health"), (200, None, None));
    assert_eq!(ask!(app, "/outside"), (200, None, None));
    assert_eq!(ask!(app, "/api/other"), (200, Some(3), Some(2)));
    assert_eq!(ask!(app, "/api/nowhere"), (404, Some(3), Some(1)));
}

#[actix_web::test]
async fn a_resource_may_have_a_limit_and_a_scope_its_own_limiter() {
    let resource = web::resource("/one").wrap(RateLimit::new(&THREE)).route(web::get().to(unlimited));
    let own = RateLimiter::in_memory();
    let scope = web::scope("/own").app_data(own).wrap(RateLimit::new(&THREE)).route("/", web::get().to(unlimited));
    let app = init_service(App::new().app_data(RateLimiter::in_memory()).service(resource).service(scope)).await;
    assert_eq!(ask!(app, "/one"), (200, Some(3), Some(2)));
    assert_eq!(ask!(app, "/one"), (200, Some(3), Some(1)));
    assert_eq!(ask!(app, "/own/"), (200, Some(3), Some(2)), "the limiter of the scope has counters of its own");
}

#[actix_web::test]
async fn a_handler_within_keeps_its_limit_and_the_tightest_of_both_is_told() {
    let app = app!(RateLimit::new(&THREE));
    let response = call_service(&app, TestRequest::get().uri("/two").to_request()).await;
    assert_eq!(response.headers().get("x-ratelimit-limit").expect("a limit"), "2");
    let body = actix_web::test::read_body(response).await;
    assert_eq!(body, "2 of 3\n1 of 2\n", "the state has the rules of both");
    // The hour of the handler has 19 left, and that of the middleware 1.
    assert_eq!(ask!(app, "/twenty"), (200, Some(3), Some(1)));
    // Of equal rules, the one that was checked first.
    assert_eq!(ask!(app, "/two"), (200, Some(3), Some(0)));
    assert_eq!(ask!(app, "/two"), (429, Some(3), Some(0)));
}

#[actix_web::test]
async fn a_handler_that_refuses_within_costs_the_middleware_what_it_counted() {
    let app = app!(RateLimit::new(&TEN));
    for (status, left) in [(200, 1), (200, 0), (429, 0)] {
        assert_eq!(ask!(app, "/two"), (status, Some(2), Some(left)));
    }
    assert_eq!(ask!(app, "/health"), (200, Some(10), Some(6)));
}

#[actix_web::test]
async fn within_and_around_the_header_middleware_nothing_is_written_twice() {
    let around = init_service(
        App::new()
            .app_data(RateLimiter::in_memory())
            .wrap(RateLimit::new(&THREE))
            .wrap(RateLimitHeaders::default().ietf())
            .route("/twenty", web::get().to(twenty)),
    )
    .await;
    let within = init_service(
        App::new()
            .app_data(RateLimiter::in_memory())
            .wrap(RateLimitHeaders::default().ietf())
            .wrap(RateLimit::new(&THREE))
            .route("/twenty", web::get().to(twenty)),
    )
    .await;
    for (name, response) in [
        ("around", call_service(&around, TestRequest::get().uri("/twenty").to_request()).await),
        ("within", call_service(&within, TestRequest::get().uri("/twenty").to_request()).await),
    ] {
        for header in
            ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "ratelimit-policy"]
        {
            assert_eq!(response.headers().get_all(header).count(), 1, "{header}, {name}");
        }
        let limits = response.headers().get("ratelimit").expect("limits").to_str().expect("text");
        assert!(limits.contains("\"global:3/3600s\";r=2") && limits.contains("\"global:20/3600s\";r=19"), "{limits}");
    }
    assert_eq!(ask!(around, "/twenty"), (200, Some(3), Some(1)));
    assert_eq!(ask!(within, "/twenty"), (200, Some(3), Some(1)));
}

#[actix_web::test]
async fn it_writes_the_headers_that_it_is_told_to() {
    let app = app!(RateLimit::new(&THREE).headers(RateLimitHeaders::default().ietf()));
    let response = call_service(&app, TestRequest::get().uri("/health").to_request()).await;
    assert_eq!(response.headers().get("ratelimit-policy").expect("a policy"), "\"global:3/3600s\";q=3;w=3600");
}

#[actix_web::test]
async fn a_request_that_an_inner_middleware_rejects_counts_and_its_answer_has_the_headers() {
    let reject = from_fn(|request: ServiceRequest, next: actix_web::middleware::Next<_>| async move {
        match request.headers().contains_key("authorization") {
            true => next.call(request).await,
            false => Err(ErrorUnauthorized("who are you?")),
        }
    });
    let app = init_service(
        App::new()
            .app_data(RateLimiter::in_memory())
            .wrap(reject)
            .wrap(RateLimit::new(&THREE))
            .wrap(Logger::default())
            .wrap(NormalizePath::trim())
            .route("/health", web::get().to(unlimited)),
    )
    .await;
    assert_eq!(ask!(app, "/health"), (401, Some(3), Some(2)));
    let authorized = || TestRequest::get().insert_header(("authorization", "me"));
    assert_eq!(ask!(app, "/health/", authorized()), (200, Some(3), Some(1)));
    assert_eq!(ask!(app, "/health"), (401, Some(3), Some(0)));
    assert_eq!(ask!(app, "/health", authorized()), (429, Some(3), Some(0)));
}

#[actix_web::test]
async fn an_outer_middleware_that_rejects_spends_nothing() {
    let reject = from_fn(|_: ServiceRequest, _: actix_web::middleware::Next<actix_web::body::BoxBody>| async move {
        Err::<actix_web::dev::ServiceResponse, _>(ErrorUnauthorized("who are you?"))
    });
    let limiter = RateLimiter::in_memory();
    let app = init_service(App::new().app_data(limiter.clone()).wrap(RateLimit::new(&THREE)).wrap(reject)).await;
    assert_eq!(ask!(app, "/"), (401, None, None));
    let state = limiter.peek(&THREE, &ratelimit_runtime::Subject::new()).await.expect("memory");
    assert_eq!(state.remaining(), 3);
}

#[actix_web::test]
async fn what_count_if_refunds_is_refunded_in_the_headers_too() {
    let app = app!(RateLimit::new(&FAILURES));
    for _ in 0..5 {
        assert_eq!(ask!(app, "/health"), (200, Some(3), Some(3)));
    }
    for left in [2, 1, 0] {
        assert_eq!(ask!(app, "/nowhere"), (404, Some(3), Some(left)));
    }
    assert_eq!(ask!(app, "/health"), (429, Some(3), Some(0)));
}

#[actix_web::test]
async fn without_a_limiter_of_its_own_the_application_is_limited_by_that_of_the_process() {
    static PROCESS: Policy = policy!("1/hour", key = "middleware of the process", scope = "global");
    let app = init_service(App::new().wrap(RateLimit::new(&PROCESS))).await;
    assert_eq!(ask!(app, "/"), (404, Some(1), Some(0)));
    assert_eq!(ask!(app, "/").0, StatusCode::TOO_MANY_REQUESTS.as_u16());
}

/// The rules of CORS of an application with a page of its own.
fn cors() -> actix_cors::Cors {
    actix_cors::Cors::default().allowed_origin("https://app.example").allowed_methods(["GET", "POST"])
}

macro_rules! wrapped {
    ($inner:expr, $outer:expr) => {
        init_service(
            App::new()
                .app_data(RateLimiter::in_memory())
                .wrap($inner)
                .wrap($outer)
                .route("/health", web::get().to(unlimited)),
        )
        .await
    };
}

#[actix_web::test]
async fn with_cors_around_a_refusal_can_be_read_and_a_preflight_is_not_counted() {
    let app = wrapped!(RateLimit::new(&THREE), cors());
    let origin = ("Origin", "https://app.example");
    for _ in 0..10 {
        let preflight = TestRequest::default().method(actix_web::http::Method::OPTIONS);
        let preflight = preflight.insert_header(origin).insert_header(("Access-Control-Request-Method", "POST"));
        let answer = call_service(&app, preflight.uri("/health").to_request()).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get("x-ratelimit-limit")), (200, None));
    }
    for expected in [200, 200, 200, 429] {
        let request = TestRequest::get().insert_header(origin).uri("/health").to_request();
        let answer = call_service(&app, request).await;
        assert_eq!(answer.status().as_u16(), expected);
        assert_eq!(answer.headers().get("access-control-allow-origin").expect("allowed"), "https://app.example");
    }
}

#[actix_web::test]
async fn with_cors_within_a_preflight_counts_and_the_limit_holds() {
    let app = wrapped!(cors(), RateLimit::new(&THREE));
    let origin = ("Origin", "https://app.example");
    let preflight = TestRequest::default().method(actix_web::http::Method::OPTIONS);
    let preflight = preflight.insert_header(origin).insert_header(("Access-Control-Request-Method", "POST"));
    assert_eq!(ask!(app, "/health", preflight), (200, Some(3), Some(2)));
    for (status, left) in [(200, 1), (200, 0), (429, 0)] {
        assert_eq!(ask!(app, "/health", TestRequest::get().insert_header(origin)), (status, Some(3), Some(left)));
    }
}

static BY_USER: Policy = policy!("2/hour", key = "middleware by user", scope = "user");

/// As an application keeps the user that its authentication has found.
#[derive(Clone)]
struct SignedIn(String);

#[actix_web::test]
async fn a_limit_by_user_stands_within_the_authentication() {
    let authenticate = from_fn(|request: ServiceRequest, next: actix_web::middleware::Next<_>| async move {
        use actix_web::HttpMessage;
        let user = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        match user {
            Some(user) => {
                request.extensions_mut().insert(SignedIn(user));
                next.call(request).await
            }
            None => Err(ErrorUnauthorized("who are you?")),
        }
    });
    let user = |request: &actix_web::HttpRequest| {
        use actix_web::HttpMessage;
        request.extensions().get::<SignedIn>().map(|user| user.0.clone())
    };
    let app = init_service(
        App::new()
            .app_data(RateLimiter::builder().user(user).build().expect("memory"))
            .wrap(RateLimit::new(&BY_USER))
            .wrap(authenticate)
            .wrap(Logger::default())
            .route("/health", web::get().to(unlimited)),
    )
    .await;
    for name in ["alice", "bob"] {
        for (status, left) in [(200, 1), (200, 0), (429, 0)] {
            let request = TestRequest::get().insert_header(("authorization", name));
            assert_eq!(ask!(app, "/health", request), (status, Some(2), Some(left)), "{name}");
        }
    }
    assert_eq!(ask!(app, "/health"), (401, None, None), "a request that authentication rejects is not counted");
}
