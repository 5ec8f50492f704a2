//! The answers to a request that is refused: the 429, and the 503 of a store that is down.

use actix_web::{HttpResponse, http::StatusCode};
use smallvec::SmallVec;

use crate::{
    problem::problem,
    state::{RateLimitState, RuleState},
};

/// Seconds after which to ask a store again that is down.
const STORE_RETRY: u32 = 1;

/// `429 Too Many Requests` (RFC 6585) as a problem (RFC 9457) of the type that the IETF draft registers.
pub(crate) fn too_many_requests(state: &RateLimitState) -> HttpResponse {
    let retry_after = state.refused_by().map_or(1, RuleState::retry_after);
    let mut seconds = itoa::Buffer::new();
    let mut parts = SmallVec::<[&str; 8]>::new();
    parts.push(r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"The rate limit is reached. Try again in "#);
    parts.push(seconds.format(retry_after));
    parts.push(r#" s.","violated-policies":[""#);
    // The names are made of characters that need no escape in JSON.
    for (index, rule) in state.rules().filter(|rule| rule.refuses()).enumerate() {
        if index > 0 {
            parts.push(r#"",""#);
        }
        parts.push(rule.name());
    }
    parts.push(r#""]}"#);
    problem(StatusCode::TOO_MANY_REQUESTS, Some(retry_after), parts.concat())
}

/// `503 Service Unavailable`: the store is down, and the rule refuses to go on without it.
pub(crate) fn unavailable() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The rate limit cannot be checked at the moment."}"#;
    problem(StatusCode::SERVICE_UNAVAILABLE, Some(STORE_RETRY), body)
}
