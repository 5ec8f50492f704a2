//! The state as an argument of a handler.

use std::{
    future::{Ready, ready},
    sync::Once,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};

use crate::decision::state::RateLimitState;

impl FromRequest for RateLimitState {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.extensions().get::<Self>().cloned();
        ready(state.ok_or_else(|| {
            // Once, and not for each request.
            static REPORTED: Once = Once::new();
            REPORTED.call_once(|| log::error!("{NotLimited}"));
            NotLimited.into()
        }))
    }
}

/// The state was asked for in a handler that has none: answered 500.
#[derive(Debug, thiserror::Error)]
#[error(
    "RateLimitState was extracted in a handler whose request no limit has checked: add #[ratelimit] or the middleware RateLimit, or extract an \
     Option (RL009)"
)]
pub(crate) struct NotLimited;
