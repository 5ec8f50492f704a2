//! Middlewares between `RateLimitHeaders` and a limited handler: which state is in which answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::error::ErrorBadGateway;
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::test::TestRequest;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpMessage, HttpResponse, HttpServer, Responder};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server};
use ratelimit_tests::wait;

use crate::{START, in_memory, window_end};

#[ratelimit(limit = 9, per = 60)]
async fn limited() -> impl Responder {
    HttpResponse::Created()
}

#[ratelimit(limit = 9, per = 60, count_if = is_success)]
async fn uncounted() -> impl Responder {
    HttpResponse::Forbidden()
}

fn is_success(response: &HttpResponse) -> bool {
    response.status().is_success()
}

#[ratelimit(limit = 9, per = 60)]
async fn panics() -> HttpResponse {
    panic!("this handler panics on purpose");
}

async fn unlimited() -> impl Responder {
    HttpResponse::Ok()
}

fn routes(config: &mut ServiceConfig) {
    config.route("/limited", web::get().to(limited)).route("/unlimited", web::get().to(unlimited));
    config.route("/uncounted", web::get().to(uncounted)).route("/panics", web::get().to(panics));
}

type Answer = Result<ServiceResponse<BoxBody>, Error>;

/// One worker that runs `$middleware` inside `RateLimitHeaders`.
macro_rules! serve_inside {
    ($middleware:path) => {{
        let limiter = in_memory().0;
        Served::start(move |listener| {
            let app = move || {
                let inner = web::scope("").wrap(from_fn($middleware)).configure(routes);
                App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default()).service(inner)
            };
            HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
        })
    }};
}

/// Calls the limited handler with an inner request, which the client does not see. Returns its status.
async fn ask_inside(request: &ServiceRequest) -> StatusCode {
    let limiter = request.app_data::<RateLimiter>().expect("the application's limiter").clone();
    let inner = TestRequest::get().app_data(limiter).to_srv_request();
    let handler = web::get().to(limited).new_service(()).await.expect("a route");
    handler.call(inner).await.expect("an answer").status()
}

fn has_headers(reply: &Reply) -> bool {
    reply.headers.iter().any(|(name, _)| name.contains("ratelimit"))
}

async fn ask_inside_and_fail(request: ServiceRequest, _: Next<BoxBody>) -> Answer {
    let status = ask_inside(&request).await;
    Err(ErrorBadGateway(status.as_u16()))
}

#[test]
fn an_error_carries_no_headers_of_an_inner_request() {
    let server = serve_inside!(ask_inside_and_fail);
    let reply = server.get("/unlimited");
    assert_eq!((reply.status, reply.body.as_str()), (502, "201"), "the inner request was answered");
    assert!(!has_headers(&reply), "{reply:?}");
}

async fn ask_inside_and_spoil(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let inner = ask_inside(&request).await;
    let outer = next.call(request).await?.status();
    Err(ErrorBadGateway(format!("{} {}", inner.as_u16(), outer.as_u16())))
}

#[test]
fn an_error_carries_the_headers_of_its_own_request_beside_an_inner_one() {
    let server = serve_inside!(ask_inside_and_spoil);
    // The inner request has no address, so it has a counter of its own.
    for remaining in [8, 7] {
        let reply = server.get("/limited");
        assert_eq!((reply.status, reply.body.as_str()), (502, "201 201"));
        assert_eq!(reply.x_headers(), (9, remaining, window_end(START, 60)));
    }
    let reply = server.get("/unlimited");
    assert_eq!((reply.status, reply.body.as_str()), (502, "201 200"));
    assert!(!has_headers(&reply), "{reply:?}");
}

async fn call_the_handler_first(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let same = ServiceRequest::from_request(request.request().clone());
    let handler = web::get().to(limited).new_service(()).await.expect("a route");
    let status = handler.call(same).await?.status();
    assert_eq!(status, 201);
    next.call(request).await
}

#[test]
fn a_middleware_may_call_a_limited_handler_and_pass_the_request_on() {
    let server = serve_inside!(call_the_handler_first);
    let reply = server.get("/limited");
    assert_eq!((reply.status, reply.x_headers().1), (201, 7), "the handler was called twice");
    let reply = server.get("/unlimited");
    assert_eq!((reply.status, reply.x_headers().1), (200, 6), "the middleware has counted the request");
    assert_eq!(server.get("/missing").status, 404);
}

async fn spoil(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    Err(ErrorBadGateway(next.call(request).await?.status().as_u16()))
}

#[test]
fn an_error_tells_what_remains_after_a_refund() {
    let server = serve_inside!(spoil);
    for _ in 0..2 {
        let reply = server.get("/uncounted");
        assert_eq!((reply.status, reply.body.as_str()), (502, "403"));
        assert_eq!(reply.x_headers().1, 9, "nothing was counted");
    }
}

#[test]
fn nested_headers_middlewares_all_know_the_state() {
    let limiter = in_memory().0;
    let server = Served::start(move |listener| {
        let app = move || {
            let inner = web::scope("").wrap(RateLimitHeaders::default()).wrap(from_fn(spoil)).configure(routes);
            App::new().app_data(limiter.clone()).wrap(RateLimitHeaders::default().ietf()).service(inner)
        };
        HttpServer::new(app).workers(1).listen(listener).expect("the server listens").run()
    });
    let reply = server.get("/limited");
    assert_eq!((reply.status, reply.x_headers()), (502, (9, 8, window_end(START, 60))));
    assert!(reply.header("ratelimit").is_some(), "{reply:?}");
    assert_eq!(reply.all("x-ratelimit-remaining").len(), 1, "{reply:?}");
    assert!(!has_headers(&server.get("/unlimited")));
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// A value that lives as long as its request.
struct Witness;

impl Drop for Witness {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
    }
}

async fn observe(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    request.extensions_mut().insert(Arc::new(Witness));
    next.call(request).await
}

#[test]
fn a_request_whose_handler_panics_is_forgotten() {
    let server = serve_inside!(observe);
    let mut connection = server.open();
    connection.send("GET /panics HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(connection.try_reply().is_err(), "the connection ends without an answer");
    wait::until("the request is dropped", || DROPPED.load(SeqCst) == 1);
    assert!(!has_headers(&server.get("/unlimited")));
    assert_eq!(server.get("/limited").x_headers().1, 8);
}
