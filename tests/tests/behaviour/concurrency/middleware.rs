//! Places under the middleware `RateLimit`, and of checks that a user's own middleware makes.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorImATeapot;
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web;
use actix_web::{App, Error, HttpResponse, body::MessageBody, error::InternalError};
use ratelimit_runtime::{Policy, RateLimit, RateLimiter, Subject, policy};

use super::{Endless, Room};

static APP: Policy = policy!(("100/day", scope = "ip"), (concurrency = 1, scope = "ip"), key = "concurrency: app");
static OWN: Policy = policy!(concurrency = 1, scope = "ip", key = "concurrency: own");

async fn streams() -> HttpResponse {
    HttpResponse::Ok().body(Endless { visit: Room::default().enter(), is_sent: false })
}

async fn refuses(_: ServiceRequest, _: Next<impl MessageBody>) -> Result<ServiceResponse, Error> {
    Err(ErrorImATeapot("no"))
}

async fn checks(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let limiter = request.app_data::<RateLimiter>().expect("a limiter").clone();
    let state = limiter.check(&OWN, &Subject::of(request.request())).await.expect("a store in memory");
    if !state.is_admitted() {
        return Err(InternalError::from_response("too many", state.to_response()).into());
    }
    drop(state);
    next.call(request).await
}

macro_rules! status {
    ($app:expr, $path:expr) => {
        match ask!($app, $path) {
            Ok(answer) => answer.status().as_u16(),
            Err(error) => error.error_response().status().as_u16(),
        }
    };
}

macro_rules! ask {
    ($app:expr, $path:expr) => {
        try_call_service(&$app, TestRequest::get().uri($path).to_request()).await
    };
}

#[actix_web::test]
async fn the_middleware_holds_a_place_until_the_body_is_dropped() {
    let app = init_service(
        App::new()
            .app_data(RateLimiter::in_memory())
            .service(web::scope("/refused").wrap(from_fn(refuses)).route("/{any}", web::get().to(HttpResponse::Ok)))
            .wrap(RateLimit::new(&APP))
            .route("/streams", web::get().to(streams)),
    )
    .await;
    let first = ask!(app, "/streams").expect("an answer");
    assert_eq!(first.headers().get("x-ratelimit-remaining").expect("a rate"), "99");
    let second = ask!(app, "/nowhere").expect("an answer");
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 429));
    drop(first);
    for expected in ["98", "97"] {
        let missing = ask!(app, "/nowhere").expect("an answer");
        assert_eq!(missing.status().as_u16(), 404);
        assert_eq!(missing.headers().get("x-ratelimit-remaining").expect("a rate"), expected);
    }
    for _ in 0..3 {
        assert_eq!(status!(app, "/refused/here"), 418);
    }
}

#[actix_web::test]
async fn a_request_holds_the_place_of_a_check_in_a_middleware() {
    let app = init_service(
        App::new().app_data(RateLimiter::in_memory()).wrap(from_fn(checks)).route("/streams", web::get().to(streams)),
    )
    .await;
    let Ok(first) = ask!(app, "/streams") else { panic!("no answer") };
    assert_eq!((first.status().as_u16(), status!(app, "/streams")), (200, 429));
    drop(first);
    assert_eq!(status!(app, "/streams"), 200);
}
