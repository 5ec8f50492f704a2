//! The answers to an answered batch: each request gets its outcomes, and the local cache learns from them.

use parking_lot::Mutex;
use redis::RedisError;
use tokio::time::Instant;

use crate::{
    decision::outcome::{Outcome, Outcomes},
    store::redis::{
        cache::{DecidedCheck, LocalCache, deny_cache::DenyCache},
        health::Health,
        pipeline::{batch::Batch, check::CheckResult, refusals::Refusals},
        protocol::reply::{Reply, WorkResult},
        server_error::Blame,
        work::Work,
    },
};

/// Who learns from an answered batch.
pub(crate) struct Learners<'a> {
    pub(crate) deny_cache: Option<&'a DenyCache>,
    pub(crate) cache: &'a Mutex<LocalCache>,
    pub(crate) refusals: &'a Refusals,
    pub(crate) health: &'a Health,
}

impl Learners<'_> {
    /// Answers the checks that the server has decided, and fails those that it failed. It returns the others, to be sent again
    /// with the server's time, or an error that concerns the whole server.
    pub(crate) fn answer(&self, mut batch: Batch, reply: &Reply) -> Result<Option<Batch>, RedisError> {
        let works = batch.works();
        let (results, server_error) = self.read(&works, batch.sent, reply);
        if self.refusals.has_any() {
            let is_decided = |(_, result): &(&&Work, &Option<CheckResult>)| matches!(result, Some(Some(_)));
            let decided = works.iter().zip(&results).filter(is_decided);
            decided.for_each(|(work, _)| self.refusals.accepted(work, self.health));
        }
        batch.answer(results);
        match server_error {
            Some(error) => Err(error),
            None if batch.checks.is_empty() => Ok(None),
            None => Ok(batch.retry()),
        }
    }

    /// The result of each check in a batch that was sent at `sent`; `None` for those to send again. An error of the server comes
    /// beside them.
    fn read(&self, works: &[&Work], sent: Instant, reply: &Reply) -> (Vec<Option<CheckResult>>, Option<RedisError>) {
        let sent = sent.into_std();
        let mut results = vec![None; works.len()];
        let mut server_error = None;
        let mut cache = self.cache.lock();
        if self.refusals.has_any() && reply.counters() > 1 {
            self.refusals.joined(self.health);
        }
        reply.read(works, |index, result| {
            let work = works[index];
            results[index] = Some(match (work, result) {
                (_, WorkResult::Failed(error)) => {
                    match Blame::of(error) {
                        Blame::Check => self.refusals.refused(work, false, error, self.health),
                        Blame::Server | Blame::Connection => server_error = Some(error.clone()),
                    }
                    None
                }
                (Work::Count(hits), WorkResult::Decided(found, decision)) => {
                    cache.learn(&DecidedCheck { hits, found, decision: &decision, sent, time: reply.time });
                    let leased = cache.decide_refused(hits, &decision, Instant::now().into_std());
                    Some(leased.unwrap_or(decision.outcomes))
                }
                (Work::ReadMark, WorkResult::Done(mark)) => {
                    if let (Some(deny_cache), Ok(mark)) = (self.deny_cache, u64::try_from(mark)) {
                        deny_cache.observe_mark(mark, sent, reply.time);
                    }
                    Some(Outcomes::new())
                }
                (Work::Overdraft(_), WorkResult::Done(taken)) => {
                    Some(Outcomes::from_buf([Outcome::taking(taken.unsigned_abs())]))
                }
                _ => Some(Outcomes::new()),
            });
        });
        (results, server_error)
    }
}
