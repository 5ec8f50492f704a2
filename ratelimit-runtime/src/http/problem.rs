//! Answers in the form of RFC 9457, which no cache may keep.

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    },
    web::Bytes,
};

use crate::{
    check::{error::CheckError, subject::NoUserFunction},
    http::state::NotLimited,
    rule::{
        function::extract::ExtractsBody,
        rate::{ParseRateError, RateOutOfRange},
        reported::Reported,
    },
};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// `500 Internal Server Error`: the developer has something to set up, and reads in the log what it is.
pub(crate) fn misconfigured() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The rate limit is not set up. The log of the server says what is missing."}"#;
    problem(StatusCode::INTERNAL_SERVER_ERROR, None, body)
}

pub(crate) fn problem(status: StatusCode, retry_after: Option<HeaderValue>, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds);
    }
    response
}

/// Adds to the response of a user's function, if it has `status`, when to try again, and that no cache may keep it. What the function
/// has written stays.
pub(crate) fn complete(response: &mut HttpResponse, status: StatusCode, retry_after: HeaderValue) {
    if response.status() == status {
        for (name, value) in [(RETRY_AFTER, retry_after), (CACHE_CONTROL, NO_STORE)] {
            if !response.headers().contains_key(&name) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

/// Mistakes of the developer that a request finds, each with its line in the log.
macro_rules! misconfigured {
    ($($mistake:ty),*) => { $(
        impl ResponseError for $mistake {
            fn error_response(&self) -> HttpResponse {
                misconfigured()
            }
        }
    )* };
}

misconfigured!(ExtractsBody, NoUserFunction, NotLimited, ParseRateError, RateOutOfRange);

impl ResponseError for CheckError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            // The store has told the log.
            Self::StoreUnavailable => unavailable(),
            mistake => {
                log_once(mistake);
                misconfigured()
            }
        }
    }
}

/// Tells the log of a mistake, once for each message.
fn log_once(mistake: &CheckError) {
    static REPORTED: Reported = Reported::at_most(64);
    let message = mistake.to_string();
    if REPORTED.is_new(&message) {
        log::error!("a check of the application failed: {message:?} (RL027)");
    }
}

/// `Retry-After` of the 503, in seconds.
pub(crate) const STORE_RETRY: HeaderValue = HeaderValue::from_static("1");

/// `503 Service Unavailable`: the store is down, and the rule refuses to go on without it.
pub(crate) fn unavailable() -> HttpResponse {
    let body = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The rate limit cannot be checked at the moment."}"#;
    problem(StatusCode::SERVICE_UNAVAILABLE, Some(STORE_RETRY), body)
}
