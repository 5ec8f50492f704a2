//! Mistakes in a set-up that no compiler sees, found by the first requests of a limiter: each goes to the log once, with
//! what to write instead. Nothing here changes an answer.

mod app_data;
mod forwarding;
mod per_worker;

use actix_web::HttpRequest;

use crate::{
    limiter::{RateLimiter, origin::LOOKS},
    rule::{policy::Policy, prepared::Prepared, reported::Reported},
};

/// Looks at a request to a handler under `rules` that `limiter` serves.
pub(crate) fn look(limiter: &RateLimiter, request: &HttpRequest, rules: &[Prepared]) {
    let Some(left) = limiter.origin().take_look() else { return };
    if left == LOOKS {
        per_worker::look(limiter, request);
    }
    app_data::look(limiter, request);
    if rules.iter().any(|rule| rule.rule.may_count_addresses()) {
        forwarding::look(limiter.clients(), request);
    }
}

/// Tells the log once that a middleware has a policy that reads the body.
pub(crate) fn body_in_middleware(policy: &'static Policy) {
    static REPORTED: Reported = Reported::by_name();
    let name = policy.name();
    if REPORTED.is_new(name) {
        log::error!(
            "the policy `{name}` reads the body of a request, which the middleware RateLimit cannot, so its requests are answered 500: \
             write `#[ratelimit(policy = …)]` on the handlers that need it (RL026)"
        );
    }
}
