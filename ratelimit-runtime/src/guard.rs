//! What a handler under the attribute does: check, then extract, then the handler.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
};

use crate::{
    algorithm::Terms,
    function::ExtractsBody,
    key::Counter,
    limiter::{self, RateLimiter},
    policy::{CountIfFn, OverLimit, OverLimitFn, Policy, Prepared, Rule},
    problem, reject,
    scope::Asker,
    slot,
    state::{RateLimitState, Rules},
    store::{Checked, Denied, Hit, Hits, Key, Outcome},
};
use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Responder,
    dev::Payload,
    http::{StatusCode, header},
};
use smallvec::SmallVec;
use tokio::runtime::Handle;

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
        Check::Done(verdict) => verdict,
        // Only what is waited for can be a function with extractors.
        Check::Later(verdict) => verdict.await.inspect_err(|answer| report(answer, policy.path())),
    };
    let charged = match verdict {
        Ok(charged) => charged,
        Err(refusal) => return refusal,
    };
    let response = match Args::from_request(&request, &mut payload).await {
        Ok(args) => handler.call(args).await.respond_to(&request).map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error),
    };
    if let Some(charged) = charged {
        charged.settle(&request, &response);
    }
    response
}

/// Tells the log of an answer that is the developer's mistake.
fn report(answer: &HttpResponse, handler: &'static str) {
    if let Some(mistake) = answer.error().and_then(|error| error.as_error::<ExtractsBody>()) {
        mistake.report(handler);
    }
}

/// What of an admitted request may have to be given back, or the answer to one that is refused.
type Verdict = Result<Option<Box<Charged>>, HttpResponse>;

/// Most checks are done at once. What has to be waited for is boxed, so that the futures of all handlers stay small.
enum Check<'a> {
    Done(Verdict),
    Later(Pin<Box<dyn Future<Output = Verdict> + 'a>>),
}

fn check<'a>(policy: &'static Policy, request: &'a HttpRequest) -> Check<'a> {
    let limiter = match RateLimiter::of(request) {
        Ok(limiter) => limiter,
        // Logged when the URL was read.
        Err(_) => return Check::Done(Err(problem::misconfigured())),
    };
    // Logged when the rules were prepared.
    let Some(rules) = policy.prepared() else { return Check::Done(Err(problem::misconfigured())) };
    limiter.lookout().see(limiter, request, rules);
    let asker = Asker::new(limiter.clients(), request);
    if rules.iter().any(|rule| rule.asks) {
        return Check::Later(Box::pin(async move {
            match asker.ask(policy.path(), rules).await {
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
    // One rule, as most handlers have: nothing to gather.
    if let [rule] = prepared
        && let Some(counter) = asker.counter(rule)
    {
        let (rules, hits) = (Rules::from_buf([rule]), Hits::from_buf([hit(asker, rule.rule, &counter)]));
        return Asked { policy, rules, hits, keys: None, limiter, request }.ask(&[counter]);
    }
    let (rules, hits, counters) = gather(prepared, asker);
    Asked { policy, rules, hits, keys: None, limiter, request }.ask(&counters)
}

/// The rules that count a request, what each has to count, and the counters.
fn gather<'a>(prepared: &'static [Prepared], asker: &'a Asker<'_>) -> (Rules, Hits, SmallVec<[Counter<'a>; 1]>) {
    let mut hits = Hits::new();
    let mut counters = SmallVec::<[Counter<'_>; 1]>::new();
    let mut rules = Rules::new();
    for rule in prepared {
        let Some(mut counter) = asker.counter(rule) else { continue };
        // One function may stand in two rules by two paths.
        while counters.contains(&counter) {
            counter.stem.ordinal += 1;
        }
        hits.push(hit(asker, rule.rule, &counter));
        counters.push(counter);
        rules.push(rule);
    }
    (rules, hits, counters)
}

/// What a rule has to count of a request.
#[inline(always)]
fn hit(asker: &Asker<'_>, rule: &Rule, counter: &Counter<'_>) -> Hit {
    let Rule { limit, algorithm, lease, on_store_error, .. } = *rule;
    let phase = if rule.stagger { counter.phase() } else { 0 };
    let terms = Terms { limit, algorithm, phase, cost: asker.cost(rule) };
    Hit { hash: counter.hash(), terms, refuses: rule.refuses(), lease, on_store_error }
}

/// What a check is about.
struct Asked<'a> {
    policy: &'static Policy,
    /// The rules that count the request.
    rules: Rules,
    /// What each of them has to count.
    hits: Hits,
    /// The names of the counters, for what may be given back.
    keys: Option<Vec<Key>>,
    limiter: &'a RateLimiter,
    request: &'a HttpRequest,
}

impl<'a> Asked<'a> {
    /// Asks the store for the counters of the hits.
    #[inline(always)]
    fn ask(mut self, counters: &[Counter<'_>]) -> Check<'a> {
        let limiter = self.limiter;
        if self.rules.iter().any(|rule| rule.rule.count_if.is_some()) {
            self.keys = Some(counters.iter().map(|counter| limiter.key(counter)).collect());
        }
        match limiter.begin(&self.hits, counters) {
            limiter::Check::Done(checked) => self.conclude(checked),
            #[cfg(feature = "redis")]
            limiter::Check::Asked(answer) => Check::Later(Box::pin(async move {
                let checked = limiter.finish(&self.hits, answer).await;
                self.conclude(checked).get().await
            })),
        }
    }

    /// Keeps the state for the handler and the middlewares, and refuses the request if that says so.
    #[inline]
    fn conclude(self, checked: Result<Checked, Denied>) -> Check<'a> {
        let Self { policy, rules, hits, keys, limiter, request } = self;
        let Ok(checked) = checked else { return Check::Done(Err(reject::unavailable())) };
        let charged = keys.map(|keys| Charged::new(limiter, &hits, &rules, keys, &checked));
        let state = RateLimitState::new(policy, &rules, &checked);
        let verdict = match state.refused_by().map(|rule| rule.rule().over_limit) {
            None => Check::Done(Ok(charged)),
            Some(OverLimit::Function(function)) => {
                let state = state.clone();
                Check::Later(Box::pin(async move { Err(respond(function, state, request).await) }))
            }
            Some(_) => Check::Done(Err(reject::too_many_requests(&state))),
        };
        slot::keep(request, state);
        verdict
    }
}

/// What the function of a rule says to a request over the limit. A 429 says when to try again.
async fn respond(function: OverLimitFn, state: RateLimitState, request: &HttpRequest) -> HttpResponse {
    let mut response = function.respond(request, &state).get().await.unwrap_or_else(HttpResponse::from_error);
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
    counts: CountIfFn,
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
            if counts.counts(response) {
                continue;
            }
            slot::refund(request, rule);
            let limiter = self.limiter.clone();
            if let (Some(later), Ok(runtime)) = (limiter.give_back(key, hit, outcome), Handle::try_current()) {
                runtime.spawn(later);
            }
        }
    }
}
