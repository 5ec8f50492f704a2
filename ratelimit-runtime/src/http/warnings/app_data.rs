//! A limiter in `app_data` that serves nobody: in a form that is not looked for, or hidden by one in another form.

use std::{rc::Rc, sync::Once};

use actix_web::HttpRequest;

use crate::{
    error::Error,
    limiter::{RateLimiter, builder::RateLimiterBuilder},
};

/// Looks for limiters besides the one that serves a request.
pub(super) fn look(serving: &RateLimiter, request: &HttpRequest) {
    static REPORTED: Once = Once::new();

    if REPORTED.is_completed() {
        return;
    }
    let hidden = RateLimiter::wrapped(request).find(|(_, limiter)| !limiter.is(serving));
    if let Some((form, _)) = hidden {
        REPORTED.call_once(|| {
            log::warn!(
                "app_data holds two RateLimiters, and the `{form}` serves no handler under #[ratelimit], whichever stands \
                 closer: write `.app_data(limiter.clone())` for both (RL015)"
            );
        });
    } else if let Some(form) = unknown(request) {
        REPORTED.call_once(|| {
            log::warn!(
                "app_data holds a `{form}`, which serves no handler under #[ratelimit]: write \
                 `.app_data(limiter.clone())` with the RateLimiter itself (RL016)"
            );
        });
    }
}

/// What looks like a limiter to a reader of the program, and is none.
fn unknown(request: &HttpRequest) -> Option<&'static str> {
    if request.app_data::<Option<RateLimiter>>().is_some() {
        Some("Option<RateLimiter>")
    } else if request.app_data::<Result<RateLimiter, Error>>().is_some() {
        Some("Result<RateLimiter, Error>")
    } else if request.app_data::<Rc<RateLimiter>>().is_some() {
        Some("Rc<RateLimiter>")
    } else if request.app_data::<&'static RateLimiter>().is_some() {
        Some("&RateLimiter")
    } else if request.app_data::<RateLimiterBuilder>().is_some() {
        Some("RateLimiterBuilder")
    } else {
        None
    }
}
