//! The application's own answers to requests that a limiter does not admit.

use actix_web::HttpResponse;

use crate::rule::function::held::{Ask, Respond};

/// A function that answers a request over a limit.
pub(crate) type OverLimitAnswer = dyn Respond + Send;

/// A function that answers a request while the store is unavailable.
pub(crate) type UnavailableAnswer = dyn Ask<HttpResponse> + Send;

/// The functions that answer in place of the 429 and the 503.
#[derive(Default)]
pub(crate) struct Answers {
    /// A rule's own function goes before it.
    pub(crate) over_limit: Option<Box<OverLimitAnswer>>,
    pub(crate) unavailable: Option<Box<UnavailableAnswer>>,
}
