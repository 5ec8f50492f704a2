//! The answers that this crate gives itself: 429, 503, and 500 for a set-up that cannot work.

use std::fmt::Write;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    },
};

use crate::state::{RateLimitState, RuleState};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Seconds after which to ask a store again that is down.
const STORE_RETRY: u32 = 1;

/// `429 Too Many Requests` (RFC 6585) as a problem (RFC 9457) of the type that the IETF draft registers.
pub(crate) fn too_many_requests(state: &RateLimitState) -> HttpResponse {
    let refusing: Vec<&str> = state.rules().filter(|rule| rule.refuses()).map(RuleState::name).collect();
    let retry_after = state.refused_by().map_or(1, RuleState::retry_after);
    let mut body = String::with_capacity(256);
    // Writing into a String does not fail. The names are made of characters that need no escape in JSON.
    let _ = write!(
        body,
        r#"{{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"The rate limit is reached. Try again in {retry_after} s.","violated-policies":["{}"]}}"#,
        refusing.join(r#"",""#),
    );
    problem(StatusCode::TOO_MANY_REQUESTS, Some(retry_after), body)
}

/// `503 Service Unavailable`: the store is down, and the rule refuses to go on without it.
pub(crate) fn unavailable() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The rate limit cannot be checked at the moment."}"#;
    problem(StatusCode::SERVICE_UNAVAILABLE, Some(STORE_RETRY), body.to_owned())
}

/// `500 Internal Server Error`: the developer has something to set up, and reads in the log what it is.
pub(crate) fn misconfigured() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The rate limit is not set up. The log of the server says what is missing."}"#;
    problem(StatusCode::INTERNAL_SERVER_ERROR, None, body.to_owned())
}

fn problem(status: StatusCode, retry_after: Option<u32>, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(status).set_body(body).map_into_boxed_body();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}
