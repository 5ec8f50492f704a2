//! One check from start to end: resolve the subject, decide, keep the state, settle.

pub(crate) mod charges;
pub(crate) mod slot;
pub(crate) mod subject;

use std::{future::Future, pin::Pin, ptr};

use actix_web::{Error, HttpRequest};
use smallvec::SmallVec;

use crate::{
    check::{charges::Charges, subject::Subject},
    counter::Counter,
    decision::{
        outcome::{Decided, Denied},
        state::{RateLimitState, RuleState},
    },
    limiter::{Begin, RateLimiter},
    rule::{Rule, policy::Policy, prepared::Prepared, terms::Terms},
    store::{CounterKey, Hit, Hits},
};

/// The result of a check: an admitted request, with the charges that its response may refund, or a refusal. In either case, the
/// state is in the request's extensions.
pub(crate) type Verdict<A> = Result<Option<Box<Charges>>, Refusal<A>>;

/// Why a request is not admitted.
pub(crate) enum Refusal<A> {
    /// A rule refuses it, and this is the answer.
    OverLimit(A),
    /// The store failed, and a rule refuses to go on without it.
    Unavailable,
    /// A function of users failed.
    Function(Error),
}

/// The answer to a request that a rule refuses, a matter of the layer above. It is made while the state is at hand: to look the
/// state up in the extensions takes 100 instructions.
pub(crate) trait OverLimitAnswer: 'static {
    fn new(rule: &'static Rule, state: &RateLimitState) -> Self;
}

/// Most checks are done at once. What has to be waited for is boxed, so that the futures of all handlers stay small.
pub(crate) enum Step<'a, A> {
    Done(Verdict<A>),
    Later(Pin<Box<dyn Future<Output = Verdict<A>> + 'a>>),
}

impl<A> Step<'_, A> {
    async fn get(self) -> Verdict<A> {
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
pub(crate) fn check<'a, A: OverLimitAnswer>(
    policy: &'static Policy,
    rules: &'static [Prepared],
    limiter: &'a RateLimiter,
    request: &'a HttpRequest,
) -> Step<'a, A> {
    let subject = Subject::new(limiter.clients(), request);
    if rules.iter().any(|rule| rule.asks) {
        return Step::Later(Box::pin(async move {
            let subject = subject.ask(policy.path(), rules).await.map_err(Refusal::Function)?;
            begin(policy, rules, limiter, &subject, request).get().await
        }));
    }
    begin(policy, rules, limiter, &subject, request)
}

/// Counts a request whose functions were asked.
#[inline]
fn begin<'a, A: OverLimitAnswer>(
    policy: &'static Policy,
    prepared: &'static [Prepared],
    limiter: &'a RateLimiter,
    subject: &Subject<'_>,
    request: &'a HttpRequest,
) -> Step<'a, A> {
    // One rule, as most handlers have: nothing to gather.
    if let [rule] = prepared
        && let Some(counter) = subject.counter(rule)
    {
        let (rules, hits) = (Rules::from_buf([rule]), Hits::from_buf([hit(subject, rule.rule, &counter)]));
        return Check { policy, rules, hits, keys: None, limiter, request }.run(&[counter]);
    }
    let (rules, hits, counters) = gather(prepared, subject);
    Check { policy, rules, hits, keys: None, limiter, request }.run(&counters)
}

/// The rules that count a request, the hit of each, and the counters.
fn gather<'a>(prepared: &'static [Prepared], subject: &'a Subject<'_>) -> (Rules, Hits, SmallVec<[Counter<'a>; 1]>) {
    let mut hits = Hits::new();
    let mut counters = SmallVec::<[Counter<'_>; 1]>::new();
    let mut rules = Rules::new();
    for rule in prepared {
        let Some(mut counter) = subject.counter(rule) else { continue };
        // One function may stand in two rules by two paths.
        while counters.contains(&counter) {
            counter.stem.ordinal += 1;
        }
        hits.push(hit(subject, rule.rule, &counter));
        counters.push(counter);
        rules.push(rule);
    }
    (rules, hits, counters)
}

/// The hit of a request under a rule.
#[inline]
fn hit(subject: &Subject<'_>, rule: &Rule, counter: &Counter<'_>) -> Hit {
    let Rule { limit, algorithm, lease, on_store_error, .. } = *rule;
    let phase = if rule.stagger { counter.phase() } else { 0 };
    let terms = Terms { limit, algorithm, phase, cost: subject.cost(rule) };
    Hit { hash: counter.hash(), terms, refuses: rule.refuses(), lease, on_store_error }
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
    #[inline(always)]
    fn run<A: OverLimitAnswer>(mut self, counters: &[Counter<'_>]) -> Step<'a, A> {
        let limiter = self.limiter;
        if self.rules.iter().any(|rule| rule.rule.count_if.is_some()) {
            self.keys = Some(counters.iter().map(|counter| limiter.key(counter)).collect());
        }
        match limiter.begin(&self.hits, counters) {
            Begin::Done(decided) => Step::Done(self.conclude(decided)),
            #[cfg(feature = "redis")]
            Begin::Asked(answer) => Step::Later(Box::pin(async move {
                let decided = limiter.finish(&self.hits, answer).await;
                self.conclude(decided)
            })),
        }
    }

    /// Keeps the state for the handler and the middlewares.
    #[inline]
    fn conclude<A: OverLimitAnswer>(self, decided: Result<Decided, Denied>) -> Verdict<A> {
        let Self { policy, rules, hits, keys, limiter, request } = self;
        let Ok(decided) = decided else { return Err(Refusal::Unavailable) };
        let charges = keys.map(|keys| Charges::new(limiter, &hits, &rules, keys, &decided));
        let state = RateLimitState::new(policy.first_limit(), rules.iter().map(|rule| &rule.info), &decided);
        let Some(refusing) = state.refused_by().map(RuleState::info) else {
            slot::keep(request, state);
            return Ok(charges);
        };
        let rule = rules.iter().find(|rule| ptr::eq(&rule.info, refusing));
        // One of the rules refuses, so there is an answer.
        let verdict = rule.map_or(Ok(None), |rule| Err(Refusal::OverLimit(A::new(rule.rule, &state))));
        slot::keep(request, state);
        verdict
    }
}
