//! What a check found.

use std::{
    cmp::Reverse,
    future::{Ready, ready},
    sync::Once,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header::HeaderValue};
use smallvec::SmallVec;

use crate::{
    policy::{Policy, Prepared, Rule},
    store::Outcome,
};

/// What the check of a request found: kept in the request's extensions before the handler runs.
///
/// A handler takes it as an argument; a middleware finds it in `response.request().extensions()`. It is there
/// for every request that reached a handler under `#[ratelimit]`, also for one that was not counted, because
/// its scope function exempted it or the store failed: [`is_counted`](Self::is_counted) tells.
///
/// ```
/// use actix_web::{Responder, get};
/// use ratelimit_runtime::{RateLimitState, ratelimit};
///
/// #[get("/quote")]
/// #[ratelimit(limit = 300, per = 300)]
/// async fn quote(state: RateLimitState) -> impl Responder {
///     format!("{} of {} left until {}", state.remaining(), state.limit(), state.reset())
/// }
/// ```
///
/// # Errors
/// As an argument of a handler without `#[ratelimit]`, it is answered `500 Internal Server Error`;
/// `Option<RateLimitState>` is `None` there.
pub struct RateLimitState {
    policy: &'static Policy,
    rules: SmallVec<[RuleState; 1]>,
    tightest: usize,
}

/// The rules of a handler that count a request.
pub(crate) type Rules = SmallVec<[&'static Prepared; 1]>;

/// What the check found for one rule of a handler.
///
/// ```
/// use ratelimit_runtime::{RateLimitState, ratelimit};
///
/// #[ratelimit("10/second; 1000/hour")]
/// async fn left(state: RateLimitState) -> String {
///     state.rules().map(|rule| format!("{} of {} in {} s\n", rule.remaining(), rule.limit(), rule.per())).collect()
/// }
/// ```
#[derive(Clone, Copy)]
pub struct RuleState {
    prepared: &'static Prepared,
    outcome: Outcome,
}

impl RateLimitState {
    /// What was `checked` of `rules`.
    pub(crate) fn new(policy: &'static Policy, rules: &[&'static Prepared], checked: &[Option<Outcome>]) -> Self {
        let states: SmallVec<[RuleState; 1]> = match (rules, checked) {
            // As most handlers have it, and cheaper than to gather.
            (&[prepared], &[Some(outcome)]) => SmallVec::from_buf([RuleState { prepared, outcome }]),
            _ => {
                let state = |(prepared, outcome): (&&'static Prepared, &Option<Outcome>)| {
                    outcome.map(|outcome| RuleState { prepared, outcome })
                };
                rules.iter().zip(checked).filter_map(state).collect()
            }
        };
        let tightest = match &states[..] {
            [] | [_] => 0,
            states => tightest(states.iter().enumerate()),
        };
        Self { policy, rules: states, tightest }
    }

    /// The limit of the tightest rule: how many requests a window admits; with `algorithm = "gcra"`, how many may come
    /// at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match self.tight() {
            Some(rule) => rule.limit(),
            None => self.policy.first_limit(),
        }
    }

    /// How many more requests the tightest rule's window admits; the limit, if the request was not counted.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.tight().map_or(self.limit(), RuleState::remaining)
    }

    /// When the tightest rule has more left, in seconds since the Unix epoch by the store's clock: see
    /// [`RuleState::reset`]. Zero, if the request was not counted.
    #[must_use]
    pub fn reset(&self) -> u64 {
        self.tight().map_or(0, RuleState::reset)
    }

    /// Seconds until [`reset`](Self::reset), rounded up, at least 1; zero, if the request was not counted.
    #[must_use]
    pub fn retry_after(&self) -> u32 {
        self.tight().map_or(0, RuleState::retry_after)
    }

    /// Whether a rule was over its limit. The handler sees `true` only under `over_limit = "allow"`.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.rules.iter().any(RuleState::is_over)
    }

    /// Whether at least one rule was checked: not for a request that is exempt, nor for one that was let
    /// through because the store failed.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The rules that were checked, in the order of the attribute.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleState> {
        self.rules.iter()
    }

    /// The rule that the numbers above speak of, as an index into [`rules`](Self::rules): the one that refuses
    /// the longest, else the one with the fewest requests remaining; of equals the one that ends last.
    #[must_use]
    pub fn tightest(&self) -> usize {
        self.tightest
    }

    /// The request does not count under `rule` after all.
    pub(crate) fn give_back(&mut self, rule: &'static Prepared) {
        let given_back = |state: &mut RuleState| state.outcome = state.outcome.given_back();
        self.rules.iter_mut().filter(|state| std::ptr::eq(state.prepared, rule)).for_each(given_back);
        self.tightest = tightest(self.rules.iter().enumerate());
    }

    fn tight(&self) -> Option<&RuleState> {
        self.rules.get(self.tightest)
    }

    /// The tightest of the rules that want `X-RateLimit-*` headers.
    pub(crate) fn tightest_with_x_headers(&self) -> Option<&RuleState> {
        if self.tight()?.rule().x_headers {
            return self.tight();
        }
        let wanted = self.rules.iter().enumerate().filter(|(_, state)| state.rule().x_headers);
        self.rules.get(tightest(wanted)).filter(|state| state.rule().x_headers)
    }

    /// The rule that refuses the request the longest.
    pub(crate) fn refused_by(&self) -> Option<&RuleState> {
        self.tight().filter(|rule| rule.refuses())
    }
}

fn tightest<'a>(rules: impl Iterator<Item = (usize, &'a RuleState)>) -> usize {
    // Of a rule that refuses, it does not matter what remains: it may be too little for this request.
    let order = |state: &RuleState| {
        let remaining = if state.refuses() { 0 } else { state.remaining() };
        (!state.refuses(), remaining, Reverse(state.reset()))
    };
    rules.min_by_key(|(_, state)| order(state)).map_or(0, |(index, _)| index)
}

impl RuleState {
    /// What clients know the rule by: its scope and its rate, such as `ip:300/300s`. It is short, consists of ASCII letters, digits
    /// and `-_.:+/`, and is another for each rule of a handler.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &self.prepared.name
    }

    /// How many requests a window admits; with `algorithm = "gcra"`, how many may come at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.rule().capacity()
    }

    /// The length of the window, in seconds; with `algorithm = "gcra"`, the time in which as many come back as may come
    /// at once, rounded up.
    #[must_use]
    pub fn per(&self) -> u32 {
        self.rule().refill()
    }

    /// How many more requests are admitted now.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.outcome.remaining
    }

    /// When there is more, in seconds since the Unix epoch by the store's clock.
    ///
    /// | algorithm | of a request that fits | of one that does not |
    /// |---|---|---|
    /// | `"fixed-window"` | when the window ends | the same |
    /// | `"sliding-window"` | when the window ends | when so much has faded that it fits: in this window or the next |
    /// | `"gcra"` | when all tokens are back | when as many are back as it takes |
    ///
    /// So with the latter two it may be earlier or later than the request before was told.
    #[must_use]
    pub fn reset(&self) -> u64 {
        self.outcome.reset
    }

    /// Seconds until [`reset`](Self::reset), rounded up, at least 1.
    #[must_use]
    pub fn retry_after(&self) -> u32 {
        self.outcome.retry_after
    }

    /// Whether the request did not fit into the window.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outcome.over
    }

    pub(crate) fn refuses(&self) -> bool {
        self.outcome.over && self.rule().refuses()
    }

    pub(crate) fn prepared(&self) -> &'static Prepared {
        self.prepared
    }

    pub(crate) fn rule(&self) -> &'static Rule {
        self.prepared.rule
    }

    /// The limit as the value of a header.
    pub(crate) fn limit_value(&self) -> HeaderValue {
        self.prepared.limit.clone()
    }
}

impl Clone for RateLimitState {
    fn clone(&self) -> Self {
        // Rules are plain numbers, which are cheaper to copy at once than to clone one by one.
        Self { policy: self.policy, rules: SmallVec::from_slice(&self.rules), tightest: self.tightest }
    }
}

impl std::fmt::Debug for RateLimitState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitState").field("rules", &self.rules).field("tightest", &self.tightest).finish()
    }
}

impl std::fmt::Debug for RuleState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuleState").field("limit", &self.rule().limit).field("outcome", &self.outcome).finish()
    }
}

impl FromRequest for RateLimitState {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.extensions().get::<Self>().cloned();
        ready(state.ok_or_else(|| {
            // Once, and not for each request.
            static REPORTED: Once = Once::new();
            REPORTED.call_once(|| log::error!("{NotLimited}"));
            NotLimited.into()
        }))
    }
}

/// The state was asked for in a handler that has none: answered 500.
#[derive(Debug, thiserror::Error)]
#[error("RateLimitState was extracted in a handler without #[ratelimit]: add the attribute, or extract an Option")]
struct NotLimited;

impl actix_web::ResponseError for NotLimited {
    fn error_response(&self) -> actix_web::HttpResponse {
        crate::problem::misconfigured()
    }
}
