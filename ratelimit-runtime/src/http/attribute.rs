//! What a handler under the attribute does: check, then extract, then the handler.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use actix_web::{Error, FromRequest, Handler, HttpRequest, HttpResponse, Responder, dev::Payload, http::StatusCode};

use crate::{
    check::{
        self, body,
        counting::{Answer, Step, Unread},
        slot,
    },
    decision::state::RateLimitState,
    http::{held_body, problem, refusal, warnings},
    limiter::RateLimiter,
    rule::{
        OverLimit, Rule,
        function::{extract::ExtractsBody, held::Respond},
        policy::Policy,
        prepared::Prepared,
        rate::RateOutOfRange,
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
        Step::Done(verdict) => verdict,
        Step::Later(verdict) => verdict.await,
        // Boxed, so that the futures of all handlers stay small.
        Step::ReadsBody(check) => Box::pin(body::check(check, &mut payload)).await,
    };
    let charges = match verdict {
        Ok(charges) => charges,
        Err(answer) => return answer,
    };
    // Taken out of the charges, which the state keeps for longer than the request runs.
    let places = charges.as_ref().and_then(|charges| charges.take_places());
    let response = match Args::from_request(&request, &mut payload).await {
        Ok(args) => handler.call(args).await.respond_to(&request).map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error),
    };
    if let Some(charges) = charges
        && charges.conclude(&response)
    {
        slot::refresh(&request);
    }
    if let Some(places) = places {
        return held_body::hold(response, places);
    }
    response
}

/// Checks a request by the limiter that serves it.
pub(crate) fn check<'a>(policy: &'static Policy, request: &'a HttpRequest) -> Step<'a, HttpResponse> {
    // A mistake in the set-up, which is logged when the limiter is made, or when the rules are prepared.
    let misconfigured = || Step::Done(Err(problem::misconfigured()));
    let Ok(limiter) = RateLimiter::of(request) else { return misconfigured() };
    let rules = match limiter.origin().is_routine() {
        true => policy.prepared(),
        false => rules_with_a_look(policy, limiter, request),
    };
    let Some(rules) = rules else { return misconfigured() };
    check::check(policy, rules, limiter, request)
}

/// Looks for mistakes in the set-up, and then gives the rules.
#[cold]
fn rules_with_a_look(
    policy: &'static Policy,
    limiter: &RateLimiter,
    request: &HttpRequest,
) -> Option<&'static [Prepared]> {
    let rules = limiter.rules(policy)?;
    warnings::look(limiter, request, rules);
    Some(rules)
}

impl Answer for HttpResponse {
    fn over_limit<'a>(
        policy: &'static Policy,
        rule: &'static Rule,
        state: &RateLimitState,
        limiter: &'a RateLimiter,
        request: &'a HttpRequest,
    ) -> Step<'a, Self> {
        match (rule.over_limit, &limiter.answers().over_limit) {
            (OverLimit::Function(function), _) => respond(policy, function, state, request),
            (_, Some(function)) => respond(policy, &**function, state, request),
            (_, None) => Step::Done(Err(refusal::too_many_requests(state))),
        }
    }

    #[cold]
    fn unavailable<'a>(policy: &'static Policy, limiter: &'a RateLimiter, request: &'a HttpRequest) -> Step<'a, Self> {
        let Some(function) = &limiter.answers().unavailable else {
            return Step::Done(Err(problem::unavailable()));
        };
        Step::Later(Box::pin(async move {
            let answer = function.ask(request).get().await;
            let mut response = answer.unwrap_or_else(|error| Self::failed(policy, error));
            problem::complete(&mut response, StatusCode::SERVICE_UNAVAILABLE, problem::STORE_RETRY);
            Err(response)
        }))
    }

    fn failed(policy: &'static Policy, error: Error) -> Self {
        // The log tells of mistakes of the developer.
        if let Some(mistake) = error.as_error::<ExtractsBody>() {
            mistake.report(policy.name());
        }
        if let Some(mistake) = error.as_error::<RateOutOfRange>() {
            mistake.report();
        }
        Self::from_error(error)
    }

    fn unread(policy: &'static Policy, unread: Unread) -> Self {
        match unread {
            Unread::TooLong => refusal::body_too_long(),
            Unread::TooSlow => refusal::body_too_slow(),
            Unread::Failed(error) => Self::from_error(error),
            Unread::InMiddleware => {
                warnings::body_in_middleware(policy);
                problem::misconfigured()
            }
        }
    }

    fn response(&self) -> &HttpResponse {
        self
    }
}

/// The answer of a user's function to a request over the limit. A 429 says when to try again.
#[inline(never)]
fn respond<'a>(
    policy: &'static Policy,
    function: &'a dyn Respond,
    state: &RateLimitState,
    request: &'a HttpRequest,
) -> Step<'a, HttpResponse> {
    let state = state.clone();
    Step::Later(Box::pin(async move {
        let answer = function.respond(request, &state).get().await;
        let mut response = answer.unwrap_or_else(|error| HttpResponse::failed(policy, error));
        // A rule that refuses has counted, so there is a time.
        problem::complete(&mut response, StatusCode::TOO_MANY_REQUESTS, state.retry_after().unwrap_or(1).into());
        Err(response)
    }))
}
