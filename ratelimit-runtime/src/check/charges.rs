//! What a request was charged, where that may be refunded: by its response, or by a rule that is checked later.

use actix_web::HttpResponse;
use tokio::runtime::Handle;

use crate::{
    decision::{outcome::Outcome, state::RuleInfo},
    limiter::RateLimiter,
    rule::{function::held::CountIfRef, prepared::Prepared},
    store::{CounterKey, Hit},
};

/// The charges of one request.
pub(crate) struct Charges {
    limiter: RateLimiter,
    charges: Vec<Charge>,
}

struct Charge {
    info: &'static RuleInfo,
    /// `None` for a rule that counts whatever the response is.
    count_if: Option<CountIfRef>,
    key: CounterKey,
    hit: Hit,
    outcome: Outcome,
}

impl Charges {
    /// No charges.
    pub(crate) fn none(limiter: &RateLimiter) -> Self {
        Self { limiter: limiter.clone(), charges: Vec::new() }
    }

    pub(crate) fn new(
        limiter: &RateLimiter,
        hits: &[Hit],
        rules: &[&'static Prepared],
        keys: Vec<CounterKey>,
        outcomes: &[Option<Outcome>],
    ) -> Box<Self> {
        let charge = |(((hit, rule), key), outcome): (((&Hit, &&'static Prepared), _), &Option<Outcome>)| {
            let outcome = outcome.filter(|outcome| outcome.taken > 0)?;
            Some(Charge { info: &rule.info, count_if: rule.rule.count_if, key, hit: *hit, outcome })
        };
        let charges = hits.iter().zip(rules).zip(keys).zip(outcomes).filter_map(charge).collect();
        Box::new(Self { limiter: limiter.clone(), charges })
    }

    /// Refunds what does not count, as `response` says, and tells `refunded` of each such rule. Nobody waits for the store.
    pub(crate) fn settle(self, response: &HttpResponse, refunded: impl Fn(&'static RuleInfo)) {
        for Charge { info, count_if, key, hit, outcome } in self.charges {
            if count_if.is_none_or(|count_if| count_if.counts(response)) {
                continue;
            }
            refunded(info);
            refund(&self.limiter, key, hit, outcome);
        }
    }

    /// Refunds all of them, and tells `refunded` of each rule. Nobody waits for the store.
    pub(crate) fn refund(self, refunded: impl Fn(&'static RuleInfo)) {
        for Charge { info, key, hit, outcome, .. } in self.charges {
            refunded(info);
            refund(&self.limiter, key, hit, outcome);
        }
    }

    /// Adds the charges of a later check of the same request.
    pub(crate) fn append(&mut self, later: Self) {
        self.charges.extend(later.charges);
    }
}

fn refund(limiter: &RateLimiter, key: CounterKey, hit: Hit, outcome: Outcome) {
    if let (Some(later), Ok(runtime)) = (limiter.clone().refund(key, hit, outcome), Handle::try_current()) {
        runtime.spawn(later);
    }
}
