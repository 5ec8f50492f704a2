//! How a batch is answered: each check by its decision, from which the local cache learns.

use parking_lot::Mutex;
use redis::RedisError;
use tokio::time::Instant;

use crate::{
    decision::outcome::Outcomes,
    store::{
        Hits,
        redis::{
            batch::Batch,
            blame::Blame,
            local_cache::{Learned, LocalCache},
            refusals::Refusals,
            script::{CheckReply, Reply},
            settings::Settings,
            work::{Answer, KeyedHit, Work},
        },
    },
};

impl Batch {
    /// Answers the checks that the server has decided, or failed to decide; the others are to be sent again. Or fails with
    /// what the server says of itself.
    pub(crate) fn answer(
        mut self,
        reply: &Reply,
        settings: &Settings,
        cache: &Mutex<LocalCache>,
        refusals: &Refusals,
    ) -> Result<Option<Self>, RedisError> {
        // The server looked at its clock after the batch was sent, so its windows end no earlier.
        let sent = self.sent.into_std();
        let works = self.works();
        let mut decided = vec![None; works.len()];
        let mut condemned = None;
        let mut cache = cache.lock();
        if refusals.are_known() && reply.counters() > 1 {
            refusals.joined(&settings.health);
        }
        reply.read(&works, |index, told| {
            let (asks, found, decision) = match (works[index], told) {
                (work, CheckReply::Failed(error)) => {
                    match Blame::of(error) {
                        Blame::Check => refusals.refused(work, false, error, &settings.health),
                        Blame::Server | Blame::Connection => condemned = Some(error.clone()),
                    }
                    decided[index] = Some(None);
                    return;
                }
                (Work::Count(asks), CheckReply::Decided(found, decision)) => (asks, found, decision),
                (work, told) => {
                    if let (Work::ReadMark, CheckReply::Done(mark), Some(deny_cache)) =
                        (work, told, &settings.deny_cache)
                        && let Ok(mark) = u64::try_from(mark)
                    {
                        deny_cache.hear(mark, sent, reply.time);
                    }
                    decided[index] = Some(Some(Outcomes::new()));
                    return;
                }
            };
            for ((ask, found), outcome) in asks.iter().zip(found).zip(&decision.outcomes) {
                if !decision.admitted || ask.take > ask.hit.terms.cost {
                    let reset = ask.hit.terms.reset(*found, !outcome.over, reply.time);
                    let ends = sent + reset.saturating_sub(reply.time);
                    let used = ask.hit.terms.used(*found, reply.time);
                    cache.learn(ask, Learned { used, outcome: *outcome, ends });
                }
            }
            if let (Some(deny_cache), [ask], [found], false) =
                (&mut cache.deny_cache, &asks[..], found, decision.admitted)
            {
                let window_end = decision.outcomes.first().map_or(0, |outcome| outcome.window_end);
                deny_cache.learn(&ask.hit, ask.hit.terms.used(*found, reply.time), window_end, reply.time);
            }
            let is_leased = |ask: &KeyedHit| ask.hit.lease > 1 && !ask.is_refill;
            // It may have been refused because of the lease that this worker has just taken itself.
            let leased = if !decision.admitted && asks.iter().any(is_leased) {
                cache.decide(&asks.iter().map(|ask| ask.hit).collect::<Hits>(), Instant::now().into_std())
            } else {
                None
            };
            decided[index] = Some(Some(leased.unwrap_or(decision.outcomes)));
        });
        drop(cache);
        if refusals.are_known() {
            let is_decided = |(_, outcomes): &(&&Work, &Option<Option<Outcomes>>)| matches!(outcomes, Some(Some(_)));
            works
                .iter()
                .zip(&decided)
                .filter(is_decided)
                .for_each(|(work, _)| refusals.accepted(work, &settings.health));
        }
        let mut undecided = Vec::new();
        for (check, outcomes) in self.checks.drain(..).zip(decided) {
            match outcomes {
                // Nobody may be waiting any more.
                Some(Some(outcomes)) => drop(check.reply.send(Answer::Decided(outcomes))),
                Some(None) => {}
                None => undecided.push(check),
            }
        }
        self.checks = undecided;
        match condemned {
            Some(error) => Err(error),
            None if self.checks.is_empty() => Ok(None),
            None => Ok(self.again()),
        }
    }
}
