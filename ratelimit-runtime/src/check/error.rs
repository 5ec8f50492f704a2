//! Why a check that a program asked for has no decision.

use crate::{decision::outcome::Unavailable, rule::rate::RateOutOfRange};

/// Why a check, a look at a counter, or a reset failed.
///
/// It is a [`ResponseError`](actix_web::ResponseError): a handler or a middleware that returns it answers 503 where the store is unavailable, and
/// 500 otherwise, without the reason, which goes to the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The store did not answer within the deadline, or with an error that the log tells. Of a check, `on_store_error = "deny"`.
    #[error("the rate limit store does not answer; the log says why")]
    StoreUnavailable,
    /// The policy needs a value that the subject does not have.
    #[non_exhaustive]
    #[error("the policy needs {value}, which the subject lacks: write `Subject::new().{call}`")]
    Subject {
        /// The value, such as `the user`.
        value: String,
        /// The call that sets it.
        call: String,
    },
    /// A function of the policy failed, or was not set up.
    #[non_exhaustive]
    #[error("{reason}")]
    Function {
        /// What the function's error says.
        reason: String,
    },
    /// [`RateLimiter::block`](crate::RateLimiter::block) cannot block the subject.
    #[non_exhaustive]
    #[error("cannot block: {reason}")]
    Block {
        /// Why, and what to write instead.
        reason: &'static str,
    },
    /// The policy shares its counters with another by accident; the log names both.
    #[error("the policy shares counters with another one; the log names both")]
    Policy,
}

impl From<Unavailable> for CheckError {
    fn from(_: Unavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl From<actix_web::Error> for CheckError {
    fn from(error: actix_web::Error) -> Self {
        Self::Function { reason: error.to_string() }
    }
}

impl From<RateOutOfRange> for CheckError {
    fn from(error: RateOutOfRange) -> Self {
        Self::Function { reason: error.to_string() }
    }
}
