//! The local cache: what a worker can decide without Redis.
//!
//! There are two parts, because they have different owners and hold on different grounds:
//!
//! - The [deny cache](deny_cache) belongs to the process. It holds full counters of fixed windows until their windows end,
//!   and the mark in Redis proves that none of them was reset. A worker that learns of a full counter spares all others the
//!   request. It covers single rules without a lease, outside clusters.
//! - The [leases] belong to one worker. They hold the tokens that it took in advance, which another worker must not
//!   spend, and for one second the last refusal of any counter: also of sliding windows, GCRA, several rules and clusters,
//!   for which no mark exists. A table for the whole process would need a lock for each token that is spent.

pub(crate) mod cached_counter;
pub(crate) mod deny_cache;
pub(crate) mod leases;

use std::time::{Duration, Instant};

use crate::{
    decision::outcome::Outcomes,
    rule::{algorithm::Algorithm, terms::CounterState},
    store::{
        Decision, Hit, Hits,
        redis::{
            cache::{cached_counter::Observation, deny_cache::DenyCacheView, leases::Leases},
            work::{KeyedHit, KeyedHits},
        },
    },
};

/// One worker's view of both parts.
pub(crate) struct LocalCache {
    pub(crate) leases: Leases,
    deny_cache: Option<DenyCacheView>,
}

/// The decision of the server about one check, with what is needed to learn from it.
pub(crate) struct DecidedCheck<'a> {
    pub(crate) hits: &'a KeyedHits,
    /// What the counters held before the check.
    pub(crate) found: &'a [CounterState],
    pub(crate) decision: &'a Decision,
    /// When the batch was sent.
    pub(crate) sent: Instant,
    /// The server's time in the reply.
    pub(crate) time: Duration,
}

impl LocalCache {
    pub(crate) fn new(leases: Leases, deny_cache: Option<DenyCacheView>) -> Self {
        Self { leases, deny_cache }
    }

    /// Decides a request if the cache holds enough for that.
    pub(crate) fn decide(&mut self, hits: &[Hit], now: Instant) -> Option<Outcomes> {
        self.leases.decide(hits, now).or_else(|| self.refuse(hits, now))
    }

    /// Refuses a request of one rule by the deny cache.
    fn refuse(&mut self, hits: &[Hit], now: Instant) -> Option<Outcomes> {
        let ([hit], Some(deny_cache)) = (hits, &mut self.deny_cache) else { return None };
        deny_cache.refuse(hit, now).map(|outcome| Outcomes::from_buf([outcome]))
    }

    /// Learns from a decision: full counters, and tokens of leases.
    pub(crate) fn learn(&mut self, decided: &DecidedCheck<'_>) {
        let DecidedCheck { hits, found, decision, sent, time } = *decided;
        for ((keyed, found), outcome) in hits.iter().zip(found).zip(&decision.outcomes) {
            let terms = &keyed.hit.terms;
            if terms.algorithm == Algorithm::Concurrency {
                // A place may be free at any moment.
                continue;
            }
            if !decision.admitted || keyed.tokens > terms.cost {
                let reset = terms.reset(*found, !outcome.over, time);
                // The server read its clock after the batch was sent, so its windows end no earlier than this.
                let ends = sent + reset.saturating_sub(time);
                self.leases.learn(keyed, Observation { used: terms.used(*found, time), outcome: *outcome, ends });
            }
        }
        if let (Some(deny_cache), [keyed], [found]) = (&mut self.deny_cache, &hits[..], found)
            && let Some(outcome) = decision.outcomes.first()
            && (!decision.admitted || keyed.hit.block.is_some())
        {
            deny_cache.learn(&keyed.hit, keyed.hit.terms.used(*found, time), outcome, time);
        }
    }

    /// Decides a refused request by a lease: the lease of this worker may be the reason for the refusal.
    pub(crate) fn decide_refused(&mut self, hits: &KeyedHits, decision: &Decision, now: Instant) -> Option<Outcomes> {
        let is_leased = |keyed: &KeyedHit| keyed.hit.lease > 1 && !keyed.is_refill;
        if decision.admitted || !hits.iter().any(is_leased) {
            return None;
        }
        self.leases.decide(&hits.iter().map(|keyed| keyed.hit).collect::<Hits>(), now)
    }
}
