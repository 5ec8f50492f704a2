//! A request is counted: the hits of its rules, the decision of the store, and the state that is kept.

use std::{future::Future, pin::Pin, ptr, sync::Arc};

use actix_web::{Error, HttpRequest, HttpResponse};
use smallvec::SmallVec;

use crate::{
    check::{charges::Charges, places::Awaited, resolver::Resolver, slot, source::Source, subject::RequestSubject},
    counter::Counter,
    decision::{
        outcome::{Decided, Unavailable},
        state::{Quota, RateLimitState, RuleInfo, RuleState},
    },
    limiter::{LimiterStep, RateLimiter},
    rule::{Rule, algorithm::Algorithm, limit::Limit, policy::Policy, prepared::Prepared, terms::Terms},
    store::{CounterKey, Hit, Hits, new_place},
};

/// The result of a check: the charges of an admitted request that its response may refund, or the answer to one that is not
/// admitted. In either case, the state is in the request's extensions.
pub(crate) type Verdict<A> = Result<Option<Arc<Charges>>, A>;

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than the rule allows.
    TooLong,
    /// It did not arrive in time.
    TooSlow,
    /// The client sent something that is no body, or went away.
    Failed(Error),
    /// The check is that of a middleware, which has no body.
    InMiddleware,
}

/// The answer to a request that is not admitted, a matter of the layer above. It is made while the state is at hand: to look the
/// state up in the extensions takes 100 instructions.
pub(crate) trait Answer: Sized + 'static {
    /// The answer to a request that `rule` of `policy` refuses.
    fn over_limit<'a>(
        policy: &'static Policy,
        rule: &'static Rule,
        state: &RateLimitState,
        limiter: &'a RateLimiter,
        request: &'a HttpRequest,
    ) -> Step<'a, Self>;

    /// The answer where the store failed, and a rule refuses to go on without it.
    fn unavailable<'a>(policy: &'static Policy, limiter: &'a RateLimiter, request: &'a HttpRequest) -> Step<'a, Self>;

    /// The answer where a function of users failed.
    fn failed(policy: &'static Policy, error: Error) -> Self;

    /// The answer where the body that a rule asks for could not be read.
    fn unread(policy: &'static Policy, unread: Unread) -> Self;

    /// What `count_if` is asked about.
    fn response(&self) -> &HttpResponse;
}

/// Most checks are done at once. What has to be waited for is boxed, so that the futures of all handlers stay small.
pub(crate) enum Step<'a, A> {
    Done(Verdict<A>),
    Later(Pin<Box<dyn Future<Output = Verdict<A>> + 'a>>),
    /// A rule reads the body, which the caller may have.
    ReadsBody(BodyCheck<'a>),
}

/// A check that needs the body.
pub(crate) struct BodyCheck<'a> {
    pub(crate) policy: &'static Policy,
    pub(crate) rules: &'static [Prepared],
    pub(crate) limiter: &'a RateLimiter,
    pub(crate) request: &'a HttpRequest,
}

impl<A: Answer> Step<'_, A> {
    /// The result, where there is no body to read.
    pub(crate) async fn get(self) -> Verdict<A> {
        match self {
            Self::Done(verdict) => verdict,
            Self::Later(verdict) => verdict.await,
            Self::ReadsBody(check) => Err(A::unread(check.policy, Unread::InMiddleware)),
        }
    }
}

/// The rules of a policy that count a request.
pub(crate) type Rules = SmallVec<[&'static Prepared; 1]>;

/// Counts a request whose functions were asked.
#[inline]
pub(crate) fn begin<'a, A: Answer>(
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
pub(crate) fn gather<'a, S: Source>(
    prepared: impl IntoIterator<Item = &'static Prepared>,
    resolver: &'a Resolver<'_, S>,
) -> (Rules, Hits, SmallVec<[Counter<'a>; 1]>) {
    let mut hits = Hits::new();
    let mut counters = SmallVec::<[Counter<'_>; 1]>::new();
    let mut rules = Rules::new();
    for rule in prepared {
        let Some((mut counter, limit, algorithm)) = resolver.counter(rule) else { continue };
        // One function may stand in two rules by two paths.
        while counters.contains(&counter) {
            counter.base.ordinal += 1;
        }
        hits.push(hit(resolver, rule, &counter, limit, algorithm));
        counters.push(counter);
        rules.push(rule);
    }
    (rules, hits, counters)
}

/// The hit of a request under a rule.
// Saves 50 instructions of a check.
#[inline(always)]
fn hit<S: Source>(
    resolver: &Resolver<'_, S>,
    prepared: &Prepared,
    counter: &Counter<'_>,
    limit: Limit,
    algorithm: Algorithm,
) -> Hit {
    let Prepared { rule, on_store_error, block, ref info, .. } = *prepared;
    let phase = if rule.stagger { counter.phase() } else { 0 };
    let terms = Terms { limit, algorithm, phase, cost: resolver.cost(rule) };
    let place = if rule.counts_places() { new_place() } else { 0 };
    let lease = rule.lease.min(limit.limit);
    Hit { hash: counter.hash(), terms, refuses: info.refuses, lease, on_store_error, place, block }
}

/// The rules of a state, each with what it admits.
#[inline]
pub(crate) fn quotas(rules: &[&'static Prepared], hits: &[Hit]) -> impl Iterator<Item = (&'static RuleInfo, Quota)> {
    let quota = |(rule, hit): (&&'static Prepared, &Hit)| {
        let info = &rule.info;
        (info, info.quota.unwrap_or_else(|| Quota::new(hit.terms.limit, hit.terms.algorithm)))
    };
    rules.iter().zip(hits).map(quota)
}

/// A check whose subject is resolved.
pub(crate) struct Check<'a> {
    pub(crate) policy: &'static Policy,
    pub(crate) rules: Rules,
    /// One for each rule.
    pub(crate) hits: Hits,
    /// The names of the counters, for charges that may be refunded and places that are released.
    pub(crate) keys: Option<Vec<CounterKey>>,
    pub(crate) limiter: &'a RateLimiter,
    pub(crate) request: &'a HttpRequest,
}

impl<'a> Check<'a> {
    /// Asks the store. `counters` are those of the hits.
    // Saves 16 instructions of a check.
    #[inline(always)]
    pub(crate) fn run<A: Answer>(mut self, counters: &[Counter<'_>]) -> Step<'a, A> {
        let limiter = self.limiter;
        if self.keys.is_none() {
            self.keys = Charges::keys(limiter, &self.rules, counters);
        }
        match limiter.begin(&self.hits, counters) {
            LimiterStep::Done(decided) => self.conclude(decided),
            LimiterStep::Pending(mut answer) => Step::Later(Box::pin(async move {
                let decided = match &self.keys {
                    Some(keys) => Awaited::new(limiter, &self.hits, keys, answer).get().await,
                    None => limiter.finish(&self.hits, &mut answer).await,
                };
                self.conclude(decided).get().await
            })),
        }
    }

    /// Keeps the state for the handler and the middlewares, and has the request answered if a rule refuses it.
    #[inline]
    fn conclude<A: Answer>(self, decided: Result<Decided, Unavailable>) -> Step<'a, A> {
        let Self { policy, rules, hits, keys, limiter, request } = self;
        let Ok(decided) = decided else { return A::unavailable(policy, limiter, request) };
        let mut state = RateLimitState::new(policy.first_limit(), quotas(&rules, &hits), &decided);
        let refusing = state.refused_by().map(RuleState::info);
        let step = match refusing.and_then(|info| rules.iter().find(|rule| ptr::eq(&rule.info, info))) {
            None => {
                let charges = keys.map(|keys| Charges::new(limiter, &hits, &rules, keys, &decided));
                if let Some(charges) = &charges {
                    state.charge(Arc::clone(charges) as _);
                }
                Step::Done(Ok(charges))
            }
            Some(rule) => A::over_limit(policy, rule.rule, &state, limiter, request),
        };
        slot::keep(request, state);
        step
    }
}
