//! The state of a request after its check, as handlers and middlewares read it.

mod settling;

use std::{borrow::Cow, cmp::Reverse, fmt, sync::Arc};

use actix_web::http::header::HeaderValue;
use smallvec::SmallVec;

use crate::decision::{
    outcome::Outcome,
    settlement::{Both, Settle},
};

/// The state of all limits of one request, which its check has produced.
///
/// A handler takes it as an argument. A middleware finds it in `response.request().extensions()`. Every request that was checked has one: by
/// `#[ratelimit]`, by the middleware [`RateLimit`](crate::RateLimit), or by [`RateLimiter::check`](crate::RateLimiter::check) of the request. It also has one if no rule counted it, because a function exempted it or the store failed:
/// [`is_counted`](Self::is_counted) says so.
///
/// ```
/// use actix_web::{Responder, get};
/// use ratelimit_runtime::{RateLimitState, ratelimit};
///
/// #[get("/quote")]
/// #[ratelimit(limit = 300, per = 300)]
/// async fn quote(state: RateLimitState) -> impl Responder {
///     format!("{} of {} left", state.remaining(), state.limit())
/// }
/// ```
///
/// # Errors
/// As an argument of a handler whose request was not checked, it is answered `500 Internal Server Error`; `Option<RateLimitState>` is `None` there.
/// Take the `Option` where a middleware excepts some paths.
pub struct RateLimitState {
    /// The limit of the policy's first rule, for a request that no rule counts; the largest number, if that depends on the request.
    first_limit: u32,
    rules: SmallVec<[RuleState; 1]>,
    tightest: usize,
    is_degraded: bool,
    /// The charges that may change after the check.
    charges: Option<Arc<dyn Settle>>,
}

/// The part of a rule that its state shows.
#[derive(Clone)]
pub(crate) struct RuleInfo {
    /// The name by which clients know the rule; without a quota, what stands before it in the name.
    pub(crate) name: String,
    /// What stands behind the quota in the name.
    pub(crate) suffix: String,
    /// `None`, if it depends on the request.
    pub(crate) quota: Option<Quota>,
    /// Whether the rule refuses a request that does not fit; otherwise it counts and reports.
    pub(crate) refuses: bool,
    /// Whether it counts what runs at the same time, and is no rate.
    pub(crate) counts_places: bool,
    pub(crate) x_headers: bool,
    /// The limit as the value of a header, if it does not depend on the request. Its bytes are static, so that workers do not share a count
    /// of its clones.
    pub(crate) limit_value: Option<HeaderValue>,
}

/// What a rule admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// How much may pass at once.
    pub(crate) limit: u32,
    /// The time in which that comes back, in seconds.
    pub(crate) per: u32,
    /// The rate as it was written: so many requests...
    pub(crate) count: u32,
    /// ...in so many seconds.
    pub(crate) window: u32,
}

/// The state of one rule of a handler after the check.
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
    info: &'static RuleInfo,
    quota: Quota,
    outcome: Outcome,
}

impl RateLimitState {
    /// The state after a check. `rules` are those that count the request, and `decided` has one outcome for each.
    #[inline]
    pub(crate) fn new(
        first_limit: u32,
        mut rules: impl Iterator<Item = (&'static RuleInfo, Quota)>,
        decided: &[Option<Outcome>],
    ) -> Self {
        // One rule, as most handlers have, needs no iterator.
        if let [Some(outcome)] = decided
            && let Some((info, quota)) = rules.next()
        {
            let rules = SmallVec::from_buf([RuleState { info, quota, outcome: *outcome }]);
            return Self { first_limit, rules, tightest: 0, is_degraded: outcome.is_degraded, charges: None };
        }
        let states = rules
            .zip(decided)
            .filter_map(|((info, quota), outcome)| Some(RuleState { info, quota, outcome: (*outcome)? }));
        let rules: SmallVec<[RuleState; 1]> = states.collect();
        let tightest = tightest(rules.iter().enumerate());
        let is_degraded = decided.iter().any(|outcome| outcome.is_none_or(|outcome| outcome.is_degraded));
        Self { first_limit, rules, tightest, is_degraded, charges: None }
    }

    /// The limit of the tightest rule: how many requests a window admits; with `algorithm = "gcra"`, how many may come
    /// at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.tight().map_or(self.first_limit, RuleState::limit)
    }

    /// How many more requests the tightest rule's window admits; the limit, if the request was not counted. That is 4294967295 under
    /// `rate = plan`.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.tight().map_or(self.limit(), RuleState::remaining)
    }

    /// The time at which the tightest rule has more left, in seconds since the Unix epoch by the store's clock: see
    /// [`RuleState::reset_at`]. `None`, if no rule counted the request.
    #[must_use]
    pub fn reset_at(&self) -> Option<u64> {
        self.tight().map(RuleState::reset_at)
    }

    /// Seconds until [`reset_at`](Self::reset_at), rounded up, at least 1. `None`, if no rule counted the request.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.tight().map(RuleState::retry_after)
    }

    /// Whether the request may go on: no rule refuses it.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        !self.rules.iter().any(RuleState::refuses)
    }

    /// Whether a rule was over its limit. The handler sees `true` only under `over_limit = "allow"`, and with
    /// [`RateLimiterBuilder::shadow`](crate::RateLimiterBuilder::shadow).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.rules.iter().any(RuleState::is_over)
    }

    /// `true` while a rule blocks the subject, from the refusal that starts the block until the block ends.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.rules.iter().any(RuleState::is_blocked)
    }

    /// Whether at least one rule was checked. No rule is checked for an exempt request, for one that was admitted because the
    /// store failed, or while the limiter is [switched off](crate::RateLimiterBuilder::enabled).
    #[must_use]
    pub fn is_counted(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether the decision was made while the store was unavailable: by counters in memory that stand in for it, or, under
    /// `on_store_error = "allow"`, without any.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.is_degraded
    }

    /// The rules that were checked, in the order of the attribute.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleState> {
        self.rules.iter()
    }

    /// The tightest rule, as an index into [`rules`](Self::rules). It is the rule that refuses the longest, or else the one with the
    /// fewest requests of this cost remaining. Among equals it is the one that ends last. A rule of `concurrency` is the tightest only where it
    /// refuses, or stands alone.
    #[must_use]
    pub fn tightest(&self) -> usize {
        self.tightest
    }

    /// Adds the rules of a later check of the same request, so that the state speaks of the tightest of both.
    #[cold]
    pub(crate) fn append(&mut self, later: &Self) {
        if self.rules.is_empty() {
            self.first_limit = later.first_limit;
        }
        let rules = self.rules.len();
        self.charges = match (self.charges.take(), &later.charges) {
            (earlier, Some(later)) => Some(Arc::new(Both { earlier, later: Arc::clone(later), rules })),
            (earlier, None) => earlier,
        };
        self.rules.extend_from_slice(&later.rules);
        self.tightest = tightest(self.rules.iter().enumerate());
        self.is_degraded |= later.is_degraded;
    }

    fn tight(&self) -> Option<&RuleState> {
        self.rules.get(self.tightest)
    }

    /// The tightest of the rules that want `X-RateLimit-*` headers.
    pub(crate) fn tightest_with_x_headers(&self) -> Option<&RuleState> {
        if self.tight()?.info.x_headers {
            return self.tight();
        }
        let wanted = self.rules.iter().enumerate().filter(|(_, state)| state.info.x_headers);
        self.rules.get(tightest(wanted)).filter(|state| state.info.x_headers)
    }

    /// The rules that are rates, and not of what runs at the same time.
    pub(crate) fn rates(&self) -> impl Iterator<Item = &RuleState> + Clone {
        self.rules.iter().filter(|state| !state.info.counts_places)
    }

    /// The tightest of them.
    pub(crate) fn tightest_rate(&self) -> Option<&RuleState> {
        let rates = self.rules.iter().enumerate().filter(|(_, state)| !state.info.counts_places);
        self.rules.get(tightest(rates)).filter(|state| !state.info.counts_places)
    }

    /// The rule that refuses the request the longest.
    pub(crate) fn refused_by(&self) -> Option<&RuleState> {
        self.tight().filter(|rule| rule.refuses())
    }
}

fn tightest<'a>(rules: impl Iterator<Item = (usize, &'a RuleState)>) -> usize {
    // A rule that refuses may have something remaining, which is too little for this request.
    let order = |state: &RuleState| {
        // A request takes several tokens of some rules, and one of others.
        let requests = || u64::from(state.remaining()) / state.outcome.taken.max(1);
        let remaining = if state.refuses() { 0 } else { requests() };
        (!state.refuses(), state.info.counts_places, remaining, Reverse(state.reset_at()))
    };
    rules.min_by_key(|(_, state)| order(state)).map_or(0, |(index, _)| index)
}

impl RuleState {
    /// The name by which clients know the rule: its scope and its rate, such as `ip:300/300s`. It has at most 63 characters and a
    /// number, consists of ASCII letters, digits and `-_.:+/`, and is unique within a handler, though a middleware may have a rule of the same name.
    /// Functions in a scope are part of it, so clients see their names. Under `rate = plan`, it has the name of the
    /// function, and the rate of the request: `user+plan:600/60s`. Under `concurrency = 2`, it is
    /// `user:2-at-once`.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self.info.quota {
            Some(_) => Cow::Borrowed(&self.info.name),
            None => {
                let (RuleInfo { name, suffix, .. }, Quota { count, window, .. }) = (self.info, self.quota);
                Cow::Owned(format!("{name}{count}/{window}s{suffix}"))
            }
        }
    }

    /// How many requests a window admits; with `algorithm = "gcra"`, how many may come at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.quota.limit
    }

    /// The length of the window, in seconds; with `algorithm = "gcra"`, the time in which as many come back as may come
    /// at once, rounded up.
    #[must_use]
    pub fn per(&self) -> u32 {
        self.quota.per
    }

    /// Whether the rule counts what runs at the same time: `concurrency = …`. Its limit is the number of places, what remains are the free
    /// ones, and its `per` is `hold`.
    #[must_use]
    pub fn is_concurrency(&self) -> bool {
        self.info.counts_places
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
    /// | `concurrency` | in a second | the same |
    /// | any, while the rule blocks | | when the block ends, and the request would fit |
    ///
    /// With the latter two, the time may be earlier or later than the one that the previous request was told.
    #[must_use]
    pub fn reset_at(&self) -> u64 {
        self.outcome.reset
    }

    /// Seconds until [`reset_at`](Self::reset_at), rounded up, at least 1.
    #[must_use]
    pub fn retry_after(&self) -> u32 {
        self.outcome.retry_after
    }

    /// Whether the request did not fit into the window.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outcome.over
    }

    /// `true` while the rule blocks the subject, because of `block = …` or [`RateLimiter::block`](crate::RateLimiter::block). The subject is
    /// admitted again at [`reset_at`](Self::reset_at): when the block has ended and the request fits.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.outcome.is_blocked
    }

    /// Whether the rule refuses the request.
    pub(crate) fn refuses(&self) -> bool {
        self.outcome.over && self.info.refuses
    }

    pub(crate) fn info(&self) -> &'static RuleInfo {
        self.info
    }

    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }
}

impl Clone for RateLimitState {
    fn clone(&self) -> Self {
        // Rules are plain numbers, which are cheaper to copy at once than to clone one by one.
        match &self.charges {
            None => Self { rules: SmallVec::from_slice(&self.rules), charges: None, ..*self },
            Some(charges) => self.clone_with(charges),
        }
    }
}

impl fmt::Debug for RateLimitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitState")
            .field("rules", &self.rules)
            .field("tightest", &self.tightest)
            .field("is_degraded", &self.is_degraded)
            .finish()
    }
}

impl fmt::Debug for RuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleState").field("name", &self.name()).field("outcome", &self.outcome).finish()
    }
}
