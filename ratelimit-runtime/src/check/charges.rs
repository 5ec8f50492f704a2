//! What a request was charged under rules that count it only if its response does.

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
    count_if: CountIfRef,
    key: CounterKey,
    hit: Hit,
    outcome: Outcome,
}

impl Charges {
    pub(crate) fn new(
        limiter: &RateLimiter,
        hits: &[Hit],
        rules: &[&'static Prepared],
        keys: Vec<CounterKey>,
        outcomes: &[Option<Outcome>],
    ) -> Box<Self> {
        let charge = |(((hit, rule), key), outcome): (((&Hit, &&'static Prepared), _), &Option<Outcome>)| {
            let outcome = outcome.filter(|outcome| outcome.taken > 0)?;
            Some(Charge { info: &rule.info, count_if: rule.rule.count_if?, key, hit: *hit, outcome })
        };
        let charges = hits.iter().zip(rules).zip(keys).zip(outcomes).filter_map(charge).collect();
        Box::new(Self { limiter: limiter.clone(), charges })
    }

    /// Refunds what does not count, as `response` says, and tells `refunded` of each such rule. Nobody waits for the store.
    pub(crate) fn settle(self, response: &HttpResponse, refunded: impl Fn(&'static RuleInfo)) {
        for Charge { info, count_if, key, hit, outcome } in self.charges {
            if count_if.counts(response) {
                continue;
            }
            refunded(info);
            let limiter = self.limiter.clone();
            if let (Some(later), Ok(runtime)) = (limiter.refund(key, hit, outcome), Handle::try_current()) {
                runtime.spawn(later);
            }
        }
    }
}
