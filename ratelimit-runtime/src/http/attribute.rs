//! What a handler under the attribute does: check, then extract, then the handler.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
};

use actix_web::{
    Error, FromRequest, Handler, HttpRequest, HttpResponse, Responder,
    dev::Payload,
    http::{StatusCode, header},
};

use crate::{
    check::{self, OverLimitAnswer, Refusal, Step, slot},
    decision::state::RateLimitState,
    http::{problem, refusal, warnings},
    limiter::RateLimiter,
    rule::{
        OverLimit, Rule,
        function::{extract::ExtractsBody, held::RespondRef},
        policy::Policy,
    },
};

/// A request before anything of it was extracted: the one argument that Actix sees of a handler under the attribute.
pub struct Incoming {
    request: HttpRequest,
    payload: Payload,
}

impl FromRequest for Incoming {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    #[inline]
    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take() }))
    }
}

/// Called by the attribute's output: `handler`, limited by `policy`.
///
/// The check comes before any extractor, so the body of a refused request is never read, and a malformed one
/// does not turn a 429 into a 400.
pub async fn limited<H, Args>(
    policy: &'static Policy,
    Incoming { request, mut payload }: Incoming,
    handler: H,
) -> HttpResponse
where
    H: Handler<Args>,
    Args: FromRequest,
    H::Output: Responder,
{
    let verdict = match check(policy, &request) {
        Some(Step::Done(verdict)) => verdict,
        Some(Step::Later(verdict)) => verdict.await,
        // Logged when the limiter was made, or when the rules were prepared.
        None => return problem::misconfigured(),
    };
    let charges = match verdict {
        Ok(charges) => charges,
        Err(Refusal::OverLimit(Answer::Now(response))) => return response,
        Err(Refusal::OverLimit(Answer::Ask(ask))) => return respond(*ask, &request, policy.path()).await,
        Err(Refusal::Unavailable) => return refusal::unavailable(),
        Err(Refusal::Function(error)) => return failed(error, policy.path()),
    };
    let response = match Args::from_request(&request, &mut payload).await {
        Ok(args) => handler.call(args).await.respond_to(&request).map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error),
    };
    if let Some(charges) = charges {
        charges.settle(&response, |info| slot::refund(&request, info));
    }
    response
}

/// Starts the check of a request; `None` where a mistake in the set-up prevents it.
fn check<'a>(policy: &'static Policy, request: &'a HttpRequest) -> Option<Step<'a, Answer>> {
    let limiter = RateLimiter::of(request).ok()?;
    let rules = policy.prepared()?;
    warnings::look(limiter, request, rules);
    Some(check::check(policy, rules, limiter, request))
}

/// The answer to a request over the limit.
enum Answer {
    Now(HttpResponse),
    /// A function of users answers, and is told the state.
    Ask(Box<(RespondRef, RateLimitState)>),
}

impl OverLimitAnswer for Answer {
    fn new(rule: &'static Rule, state: &RateLimitState) -> Self {
        match rule.over_limit {
            OverLimit::Function(function) => Self::Ask(Box::new((function, state.clone()))),
            OverLimit::Reject | OverLimit::Allow => Self::Now(refusal::too_many_requests(state)),
        }
    }
}

/// The answer of a user's function. A 429 says when to try again.
#[inline(never)]
fn respond<'a>(
    (function, state): (RespondRef, RateLimitState),
    request: &'a HttpRequest,
    handler: &'static str,
) -> Pin<Box<dyn Future<Output = HttpResponse> + 'a>> {
    Box::pin(async move {
        let answer = function.respond(request, &state).get().await;
        let mut response = answer.unwrap_or_else(|error| failed(error, handler));
        if response.status() == StatusCode::TOO_MANY_REQUESTS && !response.headers().contains_key(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, state.retry_after().into());
        }
        response
    })
}

/// The answer to a request for which a function of users failed. The log tells of a mistake of the developer.
fn failed(error: Error, handler: &'static str) -> HttpResponse {
    if let Some(mistake) = error.as_error::<ExtractsBody>() {
        mistake.report(handler);
    }
    HttpResponse::from_error(error)
}
