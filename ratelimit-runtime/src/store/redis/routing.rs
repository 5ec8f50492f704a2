//! The route of a check: to the node that has its counters, wherever that is, and to several nodes where the counters are.

use std::time::Duration;

use futures_util::future::join_all;
use smallvec::{SmallVec, smallvec};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    decision::outcome::{Outcome, Outcomes},
    store::{
        Hits,
        redis::{
            failure::StoreFailed,
            patience::Patience,
            route::{Reached, Route},
            store::RedisStore,
            work::{Answer, Part, Refund, Work},
        },
    },
};

/// The pause before a check is sent again to nodes that do not agree whose its slot is.
const PAUSE: Duration = Duration::from_millis(5);

/// How many redirects are followed without a pause: as many as the move of a slot takes. Nodes that do not agree could send a
/// check to and fro.
const REDIRECTS: u8 = 4;

/// What became of some hits of a request, if a node answered.
#[derive(Clone)]
struct Answered {
    part: Part,
    outcomes: Option<Outcomes>,
}

impl RedisStore {
    /// Asks for a request in each of its slots.
    pub(crate) async fn hit_parts(self, hits: Hits, parts: Vec<Part>) -> Result<Outcomes, StoreFailed> {
        let due = Instant::now() + self.settings.deadline;
        if let [part] = &parts[..]
            && let Reached::Decided(outcomes) = self.ask(part.slot, part.work()).await?
        {
            return Ok(outcomes);
        }
        // What is counted is refunded where another node refuses, also if the client leaves meanwhile.
        let check = tokio::spawn(async move {
            let answered = match &parts[..] {
                [part] => self.hit_one_by_one(&hits, part, due).await,
                parts => join_all(parts.iter().map(|part| self.hit_part(&hits, part, due))).await.concat(),
            };
            self.settle(&hits, &answered, due).await
        });
        check.await.map_err(|_| StoreFailed)?
    }

    async fn hit_part(&self, hits: &Hits, part: &Part, due: Instant) -> Vec<Answered> {
        match self.ask(part.slot, part.work()).await {
            Ok(Reached::Decided(outcomes)) => vec![Answered { part: part.clone(), outcomes: Some(outcomes) }],
            Ok(Reached::Split) => self.hit_one_by_one(hits, part, due).await,
            Err(StoreFailed) => vec![Answered { part: part.clone(), outcomes: None }],
        }
    }

    /// Asks for the hits of one slot one after the other: each has one counter, which is on one node. All requests that do so take
    /// from the counters in the same order, and what follows a refusal is only looked at: so of requests that contend for the last
    /// tokens, one gets them.
    async fn hit_one_by_one(&self, hits: &Hits, part: &Part, due: Instant) -> Vec<Answered> {
        let (mut answered, mut is_refused) = (Vec::with_capacity(part.hits.len()), false);
        for (index, ask) in part.hits.iter().zip(&part.asks) {
            let (hit, mut ask) = (&hits[*index], ask.clone());
            if is_refused {
                (ask.hit.terms.cost, ask.take) = (0, 0);
            }
            let part = Part { slot: part.slot, hits: smallvec![*index], asks: smallvec![ask] };
            let mut patience = Patience::until(due, self.settings.deadline / 4);
            let reached = patience.wait(self.ask(part.slot, part.work())).await;
            let Some(Ok(Reached::Decided(mut outcomes))) = reached else {
                answered.push(Answered { part, outcomes: None });
                break;
            };
            for outcome in &mut outcomes {
                outcome.over |= is_refused && u64::from(outcome.remaining) < hit.terms.cost;
            }
            is_refused |= hit.refuses && outcomes.iter().any(|outcome| outcome.over);
            answered.push(Answered { part, outcomes: Some(outcomes) });
        }
        answered
    }

    /// Makes one decision of several: where a node refuses, or fails, what the others have counted is refunded. Meanwhile others
    /// may be refused, and nobody is admitted over a limit.
    async fn settle(&self, hits: &Hits, answered: &[Answered], due: Instant) -> Result<Outcomes, StoreFailed> {
        let mut outcomes: SmallVec<[Option<Outcome>; 2]> = SmallVec::from_elem(None, hits.len());
        let mut is_admitted = true;
        for Answered { part, outcomes: answer } in answered {
            is_admitted &= answer.is_some();
            for (index, outcome) in part.hits.iter().zip(answer.iter().flatten()) {
                is_admitted &= !(hits[*index].refuses && outcome.over);
                outcomes[*index] = Some(*outcome);
            }
        }
        if !is_admitted {
            let counted = answered.iter().flat_map(|Answered { part, .. }| {
                part.hits.iter().zip(&part.asks).map(|(index, ask)| (part.slot, *index, ask))
            });
            let refunds = counted.filter_map(|(slot, index, ask)| {
                let outcome = outcomes[index].filter(|outcome| outcome.taken > 0)?;
                outcomes[index] = Some(outcome.refunded());
                Some((slot, Refund::of(ask.key.clone(), &hits[index], &outcome)))
            });
            let refunds: Vec<_> = refunds.collect();
            let refunds = join_all(refunds.into_iter().map(|(slot, refund)| self.ask(slot, Work::Refund(refund))));
            // They are sent; the request need not wait longer than for its check.
            drop(timeout_at(due, refunds).await);
        }
        outcomes.into_iter().collect::<Option<_>>().ok_or(StoreFailed)
    }

    /// Asks the node that has the slot.
    pub(crate) async fn ask(&self, slot: u16, work: Work) -> Result<Reached, StoreFailed> {
        let due = Instant::now() + self.settings.deadline;
        let mut route = Route::default();
        if let Some(answer) = self.with_worker(|worker| worker.send(slot, &route, work.clone()))? {
            // Its batch has a deadline already.
            match answer.await {
                Ok(Answer::Decided(outcomes)) => return Ok(Reached::Decided(outcomes)),
                Ok(Answer::Elsewhere(redirect)) => drop(route.follow(redirect)),
                Err(_) => return Err(StoreFailed),
            }
        }
        let mut patience = Patience::until(due, self.settings.deadline / 4);
        patience.wait(self.search(slot, work, route)).await.ok_or(StoreFailed)?
    }

    /// Asks one node after the other, as each says.
    async fn search(&self, slot: u16, work: Work, mut route: Route) -> Result<Reached, StoreFailed> {
        loop {
            if route.redirects > REDIRECTS {
                sleep(PAUSE).await;
            }
            let Some(answer) = self.with_worker(|worker| worker.send(slot, &route, work.clone()))? else {
                let mut map = self.with_worker(|worker| worker.map().ok_or(StoreFailed))?;
                map.wait_for(|map| map.is_known() || map.is_down()).await.map_err(|_| StoreFailed)?;
                continue;
            };
            let redirect = match answer.await {
                Ok(Answer::Decided(outcomes)) => return Ok(Reached::Decided(outcomes)),
                Ok(Answer::Elsewhere(redirect)) => redirect,
                Err(_) => return Err(StoreFailed),
            };
            if !route.follow(redirect) {
                if work.has_several_counters() {
                    return Ok(Reached::Split);
                }
                // Of one counter, no node should say so: once more from the start, with a pause.
                route = Route { redirects: REDIRECTS + 1, ..Route::default() };
            }
        }
    }
}
