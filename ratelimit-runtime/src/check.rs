//! One check from start to end: resolve the subject, decide, keep the state, settle.

pub(crate) mod charges;
pub(crate) mod direct;
pub(crate) mod error;
pub(crate) mod resolver;
pub(crate) mod slot;
pub(crate) mod source;
pub(crate) mod subject;

use std::{future::Future, pin::Pin, ptr};

use actix_web::{Error, HttpRequest};
use smallvec::SmallVec;

use crate::{
    check::{charges::Charges, resolver::Resolver, source::Source, subject::RequestSubject},
    counter::Counter,
    decision::{
        outcome::{Decided, Unavailable},
        state::{Quota, RateLimitState, RuleInfo, RuleState},
    },
    limiter::{LimiterStep, RateLimiter},
    rule::{Rule, algorithm::Algorithm, limit::Limit, policy::Policy, prepared::Prepared, terms::Terms},
    store::{CounterKey, Hit, Hits},
};

/// The result of a check: the charges of an admitted request that its response may refund, or the answer to one that is not
/// admitted. In either case, the state is in the request's extensions.
pub(crate) type Verdict<A> = Result<Option<Box<Charges>>, A>;

/// The answer to a request that is not admitted, a matter of the layer above. It is made while the state is at hand: to look the
/// state up in the extensions takes 100 instructions.
pub(crate) trait Answer: Sized + 'static {
    /// The answer to a request that `rule` of `policy` refuses.
    fn over_limit<'a>(
        policy: &'static Policy,
        rule: &'static Rule,
        state: &RateLimitState,
        request: &'a HttpRequest,
    ) -> Step<'a, Self>;

    /// The answer where the store failed, and a rule refuses to go on without it.
    fn unavailable() -> Self;

    /// The answer where a function of users failed.
    fn failed(policy: &'static Policy, error: Error) -> Self;
}

/// Most checks are done at once. What has to be waited for is boxed, so that the futures of all handlers stay small.
pub(crate) enum Step<'a, A> {
    Done(Verdict<A>),
    Later(Pin<Box<dyn Future<Output = Verdict<A>> + 'a>>),
}

impl<A> Step<'_, A> {
    pub(crate) async fn get(self) -> Verdict<A> {
        match self {
            Self::Done(verdict) => verdict,
            Self::Later(verdict) => verdict.await,
        }
    }
}

/// The rules of a policy that count a request.
type Rules = SmallVec<[&'static Prepared; 1]>;

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
        return Step::Later(Box::pin(async move {
            let resolver = Resolver::new(limiter.clients(), &source).ask(policy.name(), rules).await;
            let resolver = resolver.map_err(|error| A::failed(policy, error))?;
            begin(policy, rules, limiter, &resolver, request).get().await
        }));
    }
    begin(policy, rules, limiter, &Resolver::new(limiter.clients(), &source), request)
}

/// Counts a request whose functions were asked.
#[inline]
fn begin<'a, A: Answer>(
    policy: &'static Policy,
    prepared: &'static [Prepared],
    limiter: &'a RateLimiter,
    resolver: &Resolver<'_, RequestSubject<'_>>,
    request: &'a HttpRequest,
) -> Step<'a, A> {
    // One rule, as most handlers have: nothing to gather.
    if let [rule] = prepared
        && let Some((counter, limit, algorithm)) = resolver.counter(rule)
    {
        let hit = hit(resolver, rule, &counter, limit, algorithm);
        let (rules, hits) = (Rules::from_buf([rule]), Hits::from_buf([hit]));
        return Check { policy, rules, hits, keys: None, limiter, request }.run(&[counter]);
    }
    let (rules, hits, counters) = gather(prepared, resolver);
    Check { policy, rules, hits, keys: None, limiter, request }.run(&counters)
}

/// The rules that count a request, the hit of each, and the counters.
fn gather<'a, S: Source>(
    prepared: &'static [Prepared],
    resolver: &'a Resolver<'_, S>,
) -> (Rules, Hits, SmallVec<[Counter<'a>; 1]>) {
    let mut hits = Hits::new();
    let mut counters = SmallVec::<[Counter<'_>; 1]>::new();
    let mut rules = Rules::new();
    for rule in prepared {
        let Some((mut counter, limit, algorithm)) = resolver.counter(rule) else { continue };
        // One function may stand in two rules by two paths.
        while counters.contains(&counter) {
            counter.stem.ordinal += 1;
        }
        hits.push(hit(resolver, rule, &counter, limit, algorithm));
        counters.push(counter);
        rules.push(rule);
    }
    (rules, hits, counters)
}

/// The hit of a request under a rule.
#[inline]
fn hit<S: Source>(
    resolver: &Resolver<'_, S>,
    prepared: &Prepared,
    counter: &Counter<'_>,
    limit: Limit,
    algorithm: Algorithm,
) -> Hit {
    let Prepared { rule, on_store_error, ref info, .. } = *prepared;
    let phase = if rule.stagger { counter.phase() } else { 0 };
    let terms = Terms { limit, algorithm, phase, cost: resolver.cost(rule) };
    Hit { hash: counter.hash(), terms, refuses: info.refuses, lease: rule.lease.min(limit.limit), on_store_error }
}

/// The rules of a state, each with what it admits.
fn quotas(rules: &[&'static Prepared], hits: &[Hit]) -> impl Iterator<Item = (&'static RuleInfo, Quota)> {
    let quota = |(rule, hit): (&&'static Prepared, &Hit)| {
        let info = &rule.info;
        (info, info.quota.unwrap_or_else(|| Quota::new(hit.terms.limit, hit.terms.algorithm)))
    };
    rules.iter().zip(hits).map(quota)
}

/// A check whose subject is resolved.
struct Check<'a> {
    policy: &'static Policy,
    rules: Rules,
    /// One for each rule.
    hits: Hits,
    /// The names of the counters, for charges that may be refunded.
    keys: Option<Vec<CounterKey>>,
    limiter: &'a RateLimiter,
    request: &'a HttpRequest,
}

impl<'a> Check<'a> {
    /// Asks the store. `counters` are those of the hits.
    // Saves 16 instructions of a check.
    #[inline(always)]
    fn run<A: Answer>(mut self, counters: &[Counter<'_>]) -> Step<'a, A> {
        let limiter = self.limiter;
        if self.rules.iter().any(|rule| rule.rule.count_if.is_some()) {
            self.keys = Some(counters.iter().map(|counter| limiter.key(counter)).collect());
        }
        match limiter.begin(&self.hits, counters) {
            LimiterStep::Done(decided) => self.conclude(decided),
            #[cfg(feature = "redis")]
            LimiterStep::Pending(answer) => Step::Later(Box::pin(async move {
                let decided = limiter.finish(&self.hits, answer).await;
                self.conclude(decided).get().await
            })),
        }
    }

    /// Keeps the state for the handler and the middlewares, and has the request answered if a rule refuses it.
    #[inline]
    fn conclude<A: Answer>(self, decided: Result<Decided, Unavailable>) -> Step<'a, A> {
        let Self { policy, rules, hits, keys, limiter, request } = self;
        let Ok(decided) = decided else { return Step::Done(Err(A::unavailable())) };
        let charges = keys.map(|keys| Charges::new(limiter, &hits, &rules, keys, &decided));
        let state = RateLimitState::new(policy.first_limit(), quotas(&rules, &hits), &decided);
        let refusing = state.refused_by().map(RuleState::info);
        let step = match refusing.and_then(|info| rules.iter().find(|rule| ptr::eq(&rule.info, info))) {
            None => Step::Done(Ok(charges)),
            Some(rule) => A::over_limit(policy, rule.rule, &state, request),
        };
        slot::keep(request, state);
        step
    }
}
