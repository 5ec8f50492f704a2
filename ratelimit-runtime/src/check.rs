//! One check from start to end: resolve the subject, decide, keep the state, settle.

pub(crate) mod body;
pub(crate) mod charges;
pub(crate) mod counting;
pub(crate) mod direct;
pub(crate) mod error;
pub(crate) mod places;
pub(crate) mod resolver;
pub(crate) mod slot;
pub(crate) mod source;
pub(crate) mod subject;

use actix_web::HttpRequest;

use crate::{
    check::{
        counting::{Answer, BodyCheck, Step, begin},
        resolver::Resolver,
        subject::RequestSubject,
    },
    limiter::RateLimiter,
    rule::{policy::Policy, prepared::Prepared},
};

/// Checks `request` under `rules`, which are those of `policy`.
#[inline]
pub(crate) fn check<'a, A: Answer>(
    policy: &'static Policy,
    rules: &'static [Prepared],
    limiter: &'a RateLimiter,
    request: &'a HttpRequest,
) -> Step<'a, A> {
    let source = RequestSubject(request);
    if rules.iter().any(|rule| rule.asks) {
        if rules.iter().any(|rule| rule.rule.body.is_some()) {
            return Step::ReadsBody(BodyCheck { policy, rules, limiter, request });
        }
        return Step::Later(Box::pin(async move {
            let resolver = Resolver::new(limiter.clients(), &source).ask(policy.name(), rules).await;
            let resolver = resolver.map_err(|error| A::failed(policy, error))?;
            begin(policy, rules, limiter, &resolver, request).get().await
        }));
    }
    begin(policy, rules, limiter, &Resolver::new(limiter.clients(), &source), request)
}
