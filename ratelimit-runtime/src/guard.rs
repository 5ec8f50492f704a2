//! What a handler under the attribute does: check, then extract, then the handler.

use std::{future::Future, pin::Pin};

use crate::{
    algorithm::Terms,
    headers,
    key::Counter,
    limiter::{self, RateLimiter},
    policy::{OverLimit, OverLimitFn, Policy, Prepared, Rule},
    problem, reject,
    scope::Asker,
    state::{RateLimitState, Rules},
    store::{Checked, Denied, Hit, Hits, Key, Outcome},
};
use actix_web::{
    FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder,
    http::{StatusCode, header},
    web::Payload,
};
use smallvec::SmallVec;
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
    let verdict = match check(policy, std::any::type_name::<H>(), &request) {
        Check::Done(verdict) => verdict,
        Check::Later(verdict) => verdict.await,
    };
    let charged = match verdict {
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

/// What of an admitted request may have to be given back, or the answer to one that is refused.
type Verdict = Result<Option<Box<Charged>>, HttpResponse>;

/// Most checks are done at once. What has to be waited for is boxed, so that the futures of all handlers stay small.
enum Check<'a> {
    Done(Verdict),
    Later(Pin<Box<dyn Future<Output = Verdict> + 'a>>),
}

fn check<'a>(policy: &'static Policy, handler: &'static str, request: &'a HttpRequest) -> Check<'a> {
    let limiter = match RateLimiter::of(request) {
        Ok(limiter) => limiter,
        // Logged when the URL was read.
        Err(_) => return Check::Done(Err(problem::misconfigured())),
    };
    let rules = policy.prepared(handler);
    let asker = Asker::new(limiter.clients(), request);
    if rules.iter().any(|rule| rule.asks) {
        return Check::Later(Box::pin(async move {
            match asker.ask(rules).await {
                Ok(asker) => begin(policy, rules, limiter, &asker, request).get().await,
                Err(error) => Err(HttpResponse::from_error(error)),
            }
        }));
    }
    begin(policy, rules, limiter, &asker, request)
}

impl Check<'_> {
    async fn get(self) -> Verdict {
        match self {
            Self::Done(verdict) => verdict,
            Self::Later(verdict) => verdict.await,
        }
    }
}

/// Counts a request whose functions were asked.
#[inline]
fn begin<'a>(
    policy: &'static Policy,
    prepared: &'static [Prepared],
    limiter: &'a RateLimiter,
    asker: &Asker<'_>,
    request: &'a HttpRequest,
) -> Check<'a> {
    let mut hits = Hits::new();
    let mut counters = SmallVec::<[Counter<'_>; 1]>::new();
    let mut rules = Rules::new();
    for rule in prepared {
        let Some(mut counter) = asker.counter(rule) else { continue };
        // One function may stand in two rules by two paths.
        while counters.contains(&counter) {
            counter.ordinal += 1;
        }
        let Rule { limit, algorithm, lease, on_store_error, .. } = *rule.rule;
        let phase = if rule.rule.stagger { counter.phase() } else { 0 };
        let terms = Terms { limit, algorithm, phase, cost: asker.cost(rule.rule) };
        hits.push(Hit { hash: counter.hash(), terms, refuses: rule.rule.refuses(), lease, on_store_error });
        counters.push(counter);
        rules.push(rule);
    }
    let may_give_back = rules.iter().any(|rule| rule.rule.count_if.is_some());
    // The names of the counters, for what is given back.
    let keys = may_give_back.then(|| counters.iter().map(|counter| limiter.key(counter)).collect());
    let begun = limiter.begin(&hits, &counters);
    let asked = Asked { policy, rules, hits, keys, limiter, request };
    match begun {
        limiter::Check::Done(checked) => asked.conclude(checked),
        #[cfg(feature = "redis")]
        limiter::Check::Asked(answer) => Check::Later(Box::pin(async move {
            let checked = limiter.finish(&asked.hits, answer).await;
            asked.conclude(checked).get().await
        })),
    }
}

/// What a check is about.
struct Asked<'a> {
    policy: &'static Policy,
    /// The rules that count the request.
    rules: Rules,
    /// What each of them has to count.
    hits: Hits,
    keys: Option<Vec<Key>>,
    limiter: &'a RateLimiter,
    request: &'a HttpRequest,
}

impl<'a> Asked<'a> {
    /// Keeps the state for the handler and the middlewares, and refuses the request if that says so.
    #[inline]
    fn conclude(self, checked: Result<Checked, Denied>) -> Check<'a> {
        let Self { policy, rules, hits, keys, limiter, request } = self;
        let Ok(checked) = checked else { return Check::Done(Err(reject::unavailable())) };
        let charged = keys.map(|keys| Charged::new(limiter, &hits, &rules, keys, &checked));
        let Some(state) = keep(RateLimitState::new(policy, &rules, &checked), request) else {
            return Check::Done(Ok(charged));
        };
        match state.refused_by().map(|rule| rule.rule().over_limit) {
            Some(OverLimit::Function(function)) => {
                Check::Later(Box::pin(async move { Err(respond(function, state, request).await) }))
            }
            _ => Check::Done(Err(reject::too_many_requests(&state))),
        }
    }
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
    key: Key,
    hit: Hit,
    outcome: Outcome,
}

impl Charged {
    fn new(
        limiter: &RateLimiter,
        hits: &Hits,
        rules: &Rules,
        keys: Vec<Key>,
        checked: &[Option<Outcome>],
    ) -> Box<Self> {
        let charge = |(((hit, rule), key), outcome): (((&Hit, &&'static Prepared), _), &Option<Outcome>)| {
            let outcome = outcome.filter(|outcome| outcome.taken > 0)?;
            Some(Charge { rule, counts: rule.rule.count_if?, key, hit: *hit, outcome })
        };
        let charges = hits.iter().zip(rules).zip(keys).zip(checked).filter_map(charge).collect();
        Box::new(Self { limiter: limiter.clone(), charges })
    }

    /// Gives back what the response says does not count. Nobody waits for that.
    fn settle(self, request: &HttpRequest, response: &HttpResponse) {
        for Charge { rule, counts, key, hit, outcome } in self.charges {
            if counts(response) {
                continue;
            }
            if let Some(state) = request.extensions_mut().get_mut::<RateLimitState>() {
                state.give_back(rule);
            }
            let limiter = self.limiter.clone();
            if let (Some(later), Ok(runtime)) = (limiter.give_back(key, hit, outcome), Handle::try_current()) {
                runtime.spawn(later);
            }
        }
    }
}
