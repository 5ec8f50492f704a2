//! The middleware that writes the state of a limit into the response's headers.

use std::{
    cell::RefCell,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    Error,
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use pin_project_lite::pin_project;

use crate::{check::slot::StateSlot, decision::state::RateLimitState};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Middleware that tells clients about their limit, on every answer of a handler under `#[ratelimit]`: successes,
/// errors and refusals alike.
///
/// | header | value |
/// |---|---|
/// | `X-RateLimit-Limit` | how many requests a window admits; with `algorithm = "gcra"`, how many may come at once |
/// | `X-RateLimit-Remaining` | how many are left |
/// | `X-RateLimit-Reset` | when there is more, in seconds since the Unix epoch: see [`RuleState::reset_at`](crate::RuleState::reset_at) |
///
/// Of a handler with several rules, they speak of the tightest. A rule with `send_x_headers = false` is left out.
/// A header that the handler has set itself stays as it is. Answers of other handlers, and of requests that were
/// not counted, get none.
///
/// [`ietf`](Self::ietf) adds the headers of the IETF draft, which list every rule.
///
/// ```
/// use actix_web::App;
/// use ratelimit_runtime::RateLimitHeaders;
///
/// let app = App::new().wrap(RateLimitHeaders::default().ietf());
/// # drop(app);
/// ```
#[derive(Clone, Debug, Default)]
pub struct RateLimitHeaders {
    ietf: bool,
}

impl RateLimitHeaders {
    /// Adds `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers:
    /// `RateLimit-Policy: "ip:300/300s";q=300;w=300` and `RateLimit: "ip:300/300s";r=299;t=57`.
    #[must_use]
    pub fn ietf(mut self) -> Self {
        self.ietf = true;
        self
    }

    fn write(&self, state: &RateLimitState, headers: &mut HeaderMap) {
        if let Some(rule) = state.tightest_with_x_headers() {
            set(headers, LIMIT, rule.info().limit_value.clone());
            set(headers, REMAINING, number(rule.remaining().into()));
            set(headers, RESET, reset(rule.reset_at()));
        }
        if self.ietf && state.is_counted() {
            let policies = state.rules().map(|rule| format!("\"{}\";q={};w={}", rule.name(), rule.limit(), rule.per()));
            set_list(headers, RATELIMIT_POLICY, policies);
            let limits = state
                .rules()
                .map(|rule| format!("\"{}\";r={};t={}", rule.name(), rule.remaining(), rule.retry_after()));
            set_list(headers, RATELIMIT, limits);
        }
    }
}

/// Sets a header, unless the handler has set it itself. The value is appended first, because most handlers have not set it, and one
/// search is saved.
fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let names = headers.len_keys();
    headers.append(name.clone(), value);
    if headers.len_keys() == names {
        remove_last(headers, &name);
    }
}

/// Removes the last value of a header.
#[cold]
fn remove_last(headers: &mut HeaderMap, name: &HeaderName) {
    let mut left = headers.get_all(name).count();
    headers.retain(|known, _| {
        left -= usize::from(known == name);
        known != name || left > 0
    });
}

/// The value of a number, in one allocation of the right size.
fn number(number: u64) -> HeaderValue {
    // Digits are a valid value.
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or(HeaderValue::from_static("0"))
}

/// The value of a time. It is cached, because it is the same for all requests of a rule until its window ends.
fn reset(time: u64) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static("0"))) };
    }
    LAST.with_borrow_mut(|(last, value)| {
        if *last != time {
            (*last, *value) = (time, number(time));
        }
        value.clone()
    })
}

/// A list of structured fields (RFC 9651).
fn set_list(headers: &mut HeaderMap, name: HeaderName, items: impl Iterator<Item = String>) {
    // The names in it are printable ASCII; nothing else could fail.
    if let Ok(value) = HeaderValue::try_from(items.collect::<Vec<_>>().join(", ")) {
        set(headers, name, value);
    }
}

impl<S, B> Transform<S, ServiceRequest> for RateLimitHeaders
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = RateLimitHeadersService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(RateLimitHeadersService { service, headers: self.clone() }))
    }
}

/// The service of [`RateLimitHeaders`].
#[derive(Debug)]
pub struct RateLimitHeadersService<S> {
    service: S,
    headers: RateLimitHeaders,
}

impl<S, B> Service<ServiceRequest> for RateLimitHeadersService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = RateLimitHeadersFuture<S::Future>;

    actix_web::dev::forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let slot = StateSlot::of(&request);
        RateLimitHeadersFuture { answer: self.service.call(request), headers: self.headers.clone(), slot }
    }
}

pin_project! {
    /// The future of [`RateLimitHeaders`].
    #[derive(Debug)]
    pub struct RateLimitHeadersFuture<F> {
        #[pin]
        answer: F,
        headers: RateLimitHeaders,
        slot: StateSlot,
    }
}

impl<F, B> Future for RateLimitHeadersFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(context));
        let Some(state) = this.slot.state() else { return Poll::Ready(answer) };
        let headers = &*this.headers;
        match &mut answer {
            Ok(response) => headers.write(&state, response.headers_mut()),
            Err(error) => {
                let (headers, state) = (headers.clone(), state.clone());
                error.add_response_mapper(move |mut response| {
                    headers.write(&state, response.headers_mut());
                    response
                });
            }
        }
        Poll::Ready(answer)
    }
}
