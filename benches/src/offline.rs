//! Requests without a network: calls of an Actix application as a service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_http::Request;
use actix_web::{
    App, Error, Resource,
    dev::{HttpServiceFactory, Service, ServiceResponse},
    http::StatusCode,
    test::{self, TestRequest},
    web,
};
use futures_util::FutureExt;
use ratelimit_runtime::{RateLimit, RateLimitHeaders, RateLimiter};

use crate::{handlers, load::Load};

/// An application that waits for nothing but memory.
pub trait Application: Service<Request, Response = ServiceResponse, Error = Error> {}

impl<S: Service<Request, Response = ServiceResponse, Error = Error>> Application for S {}

/// The handler alone.
#[must_use]
pub fn bare(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::bare), limiter)
}

/// The handler under the attribute.
#[must_use]
pub fn limited(load: Load, limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().route(handlers::limited(load)), limiter)
}

/// The handler under the attribute, with `RateLimitHeaders`.
#[must_use]
pub fn limited_with_headers(load: Load, limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().route(handlers::limited(load)).wrap(RateLimitHeaders::default()), limiter)
}

/// The handler alone, in an application under the middleware `RateLimit`, which writes the headers.
#[must_use]
pub fn in_middleware(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::bare).wrap(RateLimit::new(&handlers::WHOLE)), limiter)
}

/// The handler under a rate that a function returns.
#[must_use]
pub fn planned(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::planned), limiter)
}

/// The handler under a rule with a cost.
#[must_use]
pub fn priced(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::priced), limiter)
}

/// The handler under a rule with a rate and places.
#[must_use]
pub fn placed(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::placed), limiter)
}

/// The handler under a rule that blocks whom it refuses.
#[must_use]
pub fn blocking(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::admitted_or_blocked), limiter)
}

/// The handler under a rule that refuses, and blocks.
#[must_use]
pub fn blocked(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::blocked), limiter)
}

/// The handler under a rule with a cost, which it replaces by another.
#[must_use]
pub fn settled(limiter: &RateLimiter) -> impl Application + use<> {
    application(resource().get(handlers::settled), limiter)
}

fn resource() -> Resource {
    web::resource("/")
}

/// Only the resource differs, so that the difference between two is the limiter's.
fn application<R: HttpServiceFactory + 'static>(resource: R, limiter: &RateLimiter) -> impl Application + use<R> {
    let app = App::new().app_data(limiter.clone()).service(resource);
    test::init_service(app).now_or_never().expect("an application in memory starts without waiting")
}

/// The address of the client of this index.
#[must_use]
pub fn address(index: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + index))
}

/// A request from `address`.
#[must_use]
pub fn request(address: IpAddr) -> Request {
    TestRequest::default().peer_addr(SocketAddr::new(address, 4711)).to_request()
}

/// The answer to `request`.
pub fn answer(service: &impl Application, request: Request) -> ServiceResponse {
    let answer = service.call(request).now_or_never().expect("a check in memory waits for nothing");
    answer.expect("the handler does not fail")
}

/// The status of the answer to `request`.
pub fn call(service: &impl Application, request: Request) -> StatusCode {
    answer(service, request).status()
}
