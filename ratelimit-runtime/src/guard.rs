//! What a handler under the attribute does: check, then extract, then the handler.

use actix_web::{
    Error, FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder,
    http::{StatusCode, header},
    web::Payload,
};
use smallvec::SmallVec;

use crate::{
    headers,
    key::{Counter, Name},
    limiter::RateLimiter,
    policy::{Key, OverLimit, Policy, Rule},
    problem, reject,
    scope::Asker,
    state::{RateLimitState, RuleState},
    store::{Hit, Hits},
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
async fn refuse(policy: &'static Policy, handler: &'static str, request: &HttpRequest) -> Option<HttpResponse> {
    let limiter = match RateLimiter::of(request) {
        Ok(limiter) => limiter,
        // Logged when the URL was read.
        Err(_) => return Some(problem::misconfigured()),
    };
    let mut hits = Hits::new();
    let mut rules = SmallVec::<[usize; 1]>::new();
    let mut asker = Asker::new(&limiter.clients, request);
    for (index, rule) in policy.rules().iter().enumerate() {
        match counter(rule, policy, handler, &mut asker).await {
            Ok(Some(mut counter)) => {
                while hits.iter().any(|hit| hit.counter == counter) {
                    counter.ordinal += 1;
                }
                let Rule { limit, on_store_error, .. } = *rule;
                hits.push(Hit { counter, limit, refuses: rule.refuses(), lease: rule.lease, on_store_error });
                rules.push(index);
            }
            Ok(None) => {}
            Err(error) => return Some(HttpResponse::from_error(error)),
        }
    }
    let checked = match limiter.check(&hits).await {
        Ok(checked) => checked,
        Err(_) => return Some(reject::unavailable()),
    };
    let found = rules.into_iter().zip(checked);
    let found = found.filter_map(|(index, outcome)| outcome.map(|outcome| RuleState::new(policy, index, outcome)));
    let state = RateLimitState::new(policy, found.collect());
    headers::publish(&state);
    request.extensions_mut().insert(state.clone());
    let refusing = state.refused_by()?;
    Some(over_limit(refusing, &state, request).await)
}

/// The counter of a rule; `None` where a function exempts the request from it.
async fn counter(
    rule: &'static Rule,
    policy: &'static Policy,
    handler: &'static str,
    asker: &mut Asker<'_>,
) -> Result<Option<Counter>, Error> {
    let Some(scope) = asker.who(rule.scope).await? else { return Ok(None) };
    let key = match rule.key {
        Key::Handler => Name::Static(policy.handler(handler)),
        Key::Named(name) => Name::Static(name),
        Key::Function(path, function) => match asker.ask(path, function).await? {
            (_, Some(text)) => Name::Given(text),
            (_, None) => return Ok(None),
        },
    };
    Ok(Some(Counter { key, per: rule.limit.per, ordinal: 0, scope }))
}

/// The answer of the rule that refuses: the 429, or what its function says. A 429 says when to try again.
async fn over_limit(refusing: &RuleState, state: &RateLimitState, request: &HttpRequest) -> HttpResponse {
    let OverLimit::Function(function) = refusing.rule().over_limit else {
        return reject::too_many_requests(state);
    };
    let mut response = function(request, state).get().await.unwrap_or_else(HttpResponse::from_error);
    if response.status() == StatusCode::TOO_MANY_REQUESTS && !response.headers().contains_key(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, refusing.retry_after().into());
    }
    response
}
