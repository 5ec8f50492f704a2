//! What a handler under the attribute does: check, then extract, then the handler.

use crate::{
    headers,
    limiter::RateLimiter,
    policy::{OverLimit, OverLimitFn, Policy, Prepared, Rule},
    problem, reject,
    scope::Asker,
    state::{RateLimitState, Rules},
    store::{Hit, Hits},
};
use actix_web::{
    FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder,
    http::{StatusCode, header},
    web::Payload,
};

/// Called by the attribute's output: `handler`, limited by `policy`.
///
/// The check comes before any extractor, so the body of a refused request is never read, and a malformed one
/// does not turn a 429 into a 400.
pub async fn limited<H, Args>(
    policy: &'static Policy,
    request: HttpRequest,
    payload: Payload,
    handler: H,
) -> HttpResponse
where
    H: Handler<Args>,
    Args: FromRequest,
    H::Output: Responder,
{
    if let Some(refusal) = refuse(policy, std::any::type_name::<H>(), &request).await {
        return refusal;
    }
    match Args::from_request(&request, &mut payload.into_inner()).await {
        Ok(args) => handler.call(args).await.respond_to(&request).map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error),
    }
}

/// The answer to a request that may not go on; `None` for one that may.
///
/// What only some handlers need is awaited in a box, or it would make the futures of all of them large.
async fn refuse(policy: &'static Policy, handler: &'static str, request: &HttpRequest) -> Option<HttpResponse> {
    let limiter = match RateLimiter::of(request) {
        Ok(limiter) => limiter,
        // Logged when the URL was read.
        Err(_) => return Some(problem::misconfigured()),
    };
    let mut asker = Asker::new(&limiter.clients, request);
    let rules = policy.prepared(handler);
    if rules.iter().any(|rule| rule.asks)
        && let Err(error) = Box::pin(asker.ask(rules)).await
    {
        return Some(HttpResponse::from_error(error));
    }
    let (hits, rules) = hits(&asker, rules);
    let checked = match limiter.check(&hits).await {
        Ok(checked) => checked,
        Err(_) => return Some(reject::unavailable()),
    };
    let state = keep(RateLimitState::new(policy, rules, &checked), request)?;
    match state.refused_by()?.rule().over_limit {
        OverLimit::Function(function) => Some(Box::pin(respond(function, state, request)).await),
        OverLimit::Reject | OverLimit::Allow => Some(reject::too_many_requests(&state)),
    }
}

/// The rules that count the request, and what each has to count.
fn hits(asker: &Asker<'_>, rules: &'static [Prepared]) -> (Hits, Rules) {
    let mut hits = Hits::new();
    let mut counting = Rules::new();
    for rule in rules {
        let Some(mut counter) = asker.counter(rule) else { continue };
        while hits.iter().any(|hit| hit.counter == counter) {
            counter.ordinal += 1;
        }
        let Rule { limit, on_store_error, .. } = *rule.rule;
        hits.push(Hit { counter, limit, refuses: rule.rule.refuses(), lease: rule.rule.lease, on_store_error });
        counting.push(rule);
    }
    (hits, counting)
}

/// Keeps the state for the handler and the middlewares, and gives it back if it refuses the request.
fn keep(state: RateLimitState, request: &HttpRequest) -> Option<RateLimitState> {
    headers::publish(request);
    let refuses = state.refused_by().is_some().then(|| state.clone());
    request.extensions_mut().insert(state);
    refuses
}

/// What the function of a rule says to a request over the limit. A 429 says when to try again.
async fn respond(function: OverLimitFn, state: RateLimitState, request: &HttpRequest) -> HttpResponse {
    let mut response = function(request, &state).get().await.unwrap_or_else(HttpResponse::from_error);
    if response.status() == StatusCode::TOO_MANY_REQUESTS && !response.headers().contains_key(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, state.retry_after().into());
    }
    response
}
