//! What a handler under the attribute does: check, then extract, then the handler.

use crate::{
    algorithm::Terms,
    headers,
    limiter::RateLimiter,
    policy::{OverLimit, OverLimitFn, Policy, Prepared, Rule},
    problem, reject,
    scope::Asker,
    state::{RateLimitState, Rules},
    store::{Hit, Hits, Outcome},
};
use actix_web::{
    FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder,
    http::{StatusCode, header},
    web::Payload,
};
use tokio::runtime::Handle;

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
    let charged = match check(policy, std::any::type_name::<H>(), &request).await {
        Ok(charged) => charged,
        Err(refusal) => return refusal,
    };
    let response = match Args::from_request(&request, &mut payload.into_inner()).await {
        Ok(args) => handler.call(args).await.respond_to(&request).map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error),
    };
    if let Some(charged) = charged {
        charged.settle(&request, &response);
    }
    response
}

/// Counts a request that may go on, and says what of it may have to be given back; the answer to one that may not.
///
/// What only some handlers need is boxed, or it would make the futures of all of them large.
async fn check(
    policy: &'static Policy,
    handler: &'static str,
    request: &HttpRequest,
) -> Result<Option<Box<Charged>>, HttpResponse> {
    let limiter = match RateLimiter::of(request) {
        Ok(limiter) => limiter,
        // Logged when the URL was read.
        Err(_) => return Err(problem::misconfigured()),
    };
    let rules = policy.prepared(handler);
    let (hits, rules) = {
        let mut asker = Asker::new(limiter.clients(), request);
        if rules.iter().any(|rule| rule.asks)
            && let Err(error) = Box::pin(asker.ask(rules)).await
        {
            return Err(HttpResponse::from_error(error));
        }
        hits(&asker, rules)
    };
    let checked = match limiter.check(&hits).await {
        Ok(checked) => checked,
        Err(_) => return Err(reject::unavailable()),
    };
    let may_give_back = rules.iter().any(|rule| rule.rule.count_if.is_some());
    let charged = may_give_back.then(|| Charged::new(limiter, &hits, &rules, &checked));
    let Some(state) = keep(RateLimitState::new(policy, &rules, &checked), request) else { return Ok(charged) };
    match state.refused_by().map(|rule| rule.rule().over_limit) {
        Some(OverLimit::Function(function)) => Err(Box::pin(respond(function, state, request)).await),
        _ => Err(reject::too_many_requests(&state)),
    }
}

/// The rules that count the request, and what each has to count.
#[inline]
fn hits(asker: &Asker<'_>, rules: &'static [Prepared]) -> (Hits, Rules) {
    let mut hits = Hits::new();
    let mut counting = Rules::new();
    for rule in rules {
        let Some(mut counter) = asker.counter(rule) else { continue };
        // One function may stand in two rules by two paths.
        while hits.iter().any(|hit| hit.counter == counter) {
            counter.ordinal += 1;
        }
        let Rule { limit, algorithm, lease, on_store_error, .. } = *rule.rule;
        let phase = if rule.rule.stagger { counter.phase() } else { 0 };
        let terms = Terms { limit, algorithm, phase, cost: asker.cost(rule.rule) };
        let hash = counter.hash();
        hits.push(Hit { counter, hash, terms, refuses: rule.rule.refuses(), lease, on_store_error });
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

/// What a request was charged under rules that count it only if its response does.
struct Charged {
    limiter: RateLimiter,
    charges: Vec<Charge>,
}

struct Charge {
    rule: &'static Prepared,
    counts: fn(&HttpResponse) -> bool,
    hit: Hit,
    outcome: Outcome,
}

impl Charged {
    fn new(limiter: &RateLimiter, hits: &Hits, rules: &Rules, checked: &[Option<Outcome>]) -> Box<Self> {
        let charge = |((hit, rule), outcome): ((&Hit, &&'static Prepared), &Option<Outcome>)| {
            let outcome = outcome.filter(|outcome| outcome.taken > 0)?;
            Some(Charge { rule, counts: rule.rule.count_if?, hit: hit.clone(), outcome })
        };
        let charges = hits.iter().zip(rules).zip(checked).filter_map(charge).collect();
        Box::new(Self { limiter: limiter.clone(), charges })
    }

    /// Gives back what the response says does not count. Nobody waits for that.
    fn settle(self, request: &HttpRequest, response: &HttpResponse) {
        for Charge { rule, counts, hit, outcome } in self.charges {
            if counts(response) {
                continue;
            }
            if let Some(state) = request.extensions_mut().get_mut::<RateLimitState>() {
                state.give_back(rule);
            }
            let limiter = self.limiter.clone();
            if let (Some(later), Ok(runtime)) = (limiter.give_back(hit, outcome), Handle::try_current()) {
                runtime.spawn(later);
            }
        }
    }
}
