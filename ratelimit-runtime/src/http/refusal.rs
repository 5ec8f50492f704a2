//! The responses to a refused request: the 429, and those of a body that cannot be read.

use std::{cell::RefCell, ptr};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::HeaderValue},
    web::Bytes,
};

use crate::{
    decision::state::{Quota, RateLimitState, RuleInfo, RuleState},
    http::problem::problem,
};

impl RateLimitState {
    /// The response that `#[ratelimit]` sends to a request that is not admitted: 429 with `Retry-After`, and a problem (RFC 9457) as its
    /// body. It is for a middleware of your own, after [`RateLimiter::check`](crate::RateLimiter::check). It is the default also where
    /// the limiter has [`over_limit`](crate::RateLimiterBuilder::over_limit), which the state does not know.
    ///
    /// ```
    /// use actix_web::{HttpRequest, HttpResponse};
    /// use ratelimit_runtime::{CheckError, Policy, RateLimiter, Subject, policy};
    ///
    /// static API: Policy = policy!("1000/hour", key = "api", scope = "ip");
    ///
    /// /// The response to a request over the limit.
    /// async fn refusal(limiter: &RateLimiter, request: &HttpRequest) -> Result<Option<HttpResponse>, CheckError> {
    ///     let state = limiter.check(&API, &Subject::of(request)).await?;
    ///     Ok((!state.is_admitted()).then(|| state.to_response()))
    /// }
    /// # let _ = refusal;
    /// ```
    #[must_use]
    pub fn to_response(&self) -> HttpResponse {
        too_many_requests(self)
    }
}

/// `429 Too Many Requests` (RFC 6585) as a problem (RFC 9457) of the type that the IETF draft registers.
pub(crate) fn too_many_requests(state: &RateLimitState) -> HttpResponse {
    thread_local! {
        /// The last 429, cached by its rule and second: a plain fixed window refuses all clients with the same response.
        static LAST: RefCell<Option<(&'static RuleInfo, Quota, Refusal)>> = const { RefCell::new(None) };
    }
    let mut refusing = state.rules().filter(|rule| rule.refuses());
    let (Some(rule), None) = (refusing.next(), refusing.next()) else { return Refusal::new(state).answer() };
    LAST.with_borrow_mut(|last| match last {
        Some((by, quota, refusal))
            if ptr::eq(*by, rule.info()) && *quota == rule.quota() && refusal.seconds == rule.retry_after() =>
        {
            refusal.answer()
        }
        _ => last.insert((rule.info(), rule.quota(), Refusal::new(state))).2.answer(),
    })
}

/// The contents of a 429.
struct Refusal {
    seconds: u32,
    retry_after: HeaderValue,
    body: Bytes,
}

impl Refusal {
    fn new(state: &RateLimitState) -> Self {
        let seconds = state.refused_by().map_or(1, RuleState::retry_after);
        // Names of rules need no escape in JSON.
        let names: Vec<_> = state.rules().filter(|rule| rule.refuses()).map(RuleState::name).collect();
        let body = format!(
            r#"{{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"The rate limit is reached. Try again in {seconds} s.","violated-policies":["{}"]}}"#,
            names.join(r#"",""#)
        );
        Self { seconds, retry_after: seconds.into(), body: body.into() }
    }

    fn answer(&self) -> HttpResponse {
        problem(StatusCode::TOO_MANY_REQUESTS, Some(self.retry_after.clone()), self.body.clone())
    }
}

/// `413 Content Too Large`: the body is longer than a rule may read.
pub(crate) fn body_too_long() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Content Too Large","status":413,"detail":"The body of the request is too long."}"#;
    problem(StatusCode::PAYLOAD_TOO_LARGE, None, body)
}

/// `408 Request Timeout`: the body that a rule reads did not arrive in time.
pub(crate) fn body_too_slow() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Request Timeout","status":408,"detail":"The body of the request did not arrive in time."}"#;
    problem(StatusCode::REQUEST_TIMEOUT, None, body)
}
