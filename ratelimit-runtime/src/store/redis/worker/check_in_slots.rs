//! A check whose counters are on several nodes of a cluster: their answers become one decision.

use futures_util::future::join_all;
use smallvec::{SmallVec, smallvec};
use tokio::time::{Instant, timeout_at};

use crate::{
    decision::outcome::{Outcome, Outcomes},
    store::{
        Hits, StoreFailed,
        redis::{
            transport::patience::Patience,
            work::{Refund, Work},
            worker::{follow_redirects::RouteEnd, registry::Workers, slots::SlotHits},
        },
    },
};

/// The answer to some hits of a request; without outcomes if no node answered.
#[derive(Clone)]
struct SlotAnswer {
    slot_hits: SlotHits,
    outcomes: Option<Outcomes>,
}

impl Workers {
    /// Checks a request in each of its slots.
    pub(crate) async fn check_in_slots(self, hits: Hits, slots: Vec<SlotHits>) -> Result<Outcomes, StoreFailed> {
        let due = Instant::now() + self.settings.deadline;
        if let [only] = &slots[..]
            && let RouteEnd::Decided(outcomes) = self.send(only.slot, only.work()).await?
        {
            return Ok(outcomes);
        }
        // In a task of its own: where another node refuses, the counted hits are refunded, even if the client leaves meanwhile.
        let check = tokio::spawn(async move {
            let answers = match &slots[..] {
                [only] => self.check_one_by_one(&hits, only, due).await,
                slots => join_all(slots.iter().map(|slot| self.check_slot(&hits, slot, due))).await.concat(),
            };
            self.settle(&hits, &answers, due).await
        });
        check.await.map_err(|_| StoreFailed)?
    }

    async fn check_slot(&self, hits: &Hits, slot_hits: &SlotHits, due: Instant) -> Vec<SlotAnswer> {
        let outcomes = match self.send(slot_hits.slot, slot_hits.work()).await {
            Ok(RouteEnd::Decided(outcomes)) => Some(outcomes),
            Ok(RouteEnd::Split) => return self.check_one_by_one(hits, slot_hits, due).await,
            Err(StoreFailed) => None,
        };
        vec![SlotAnswer { slot_hits: slot_hits.clone(), outcomes }]
    }

    /// Sends the hits of one slot one after the other: each has one counter, which is on one node. All requests take from the
    /// counters in the same order, and hits after a refusal take nothing. So of requests that contend for the last tokens, one
    /// gets them.
    async fn check_one_by_one(&self, hits: &Hits, slot_hits: &SlotHits, due: Instant) -> Vec<SlotAnswer> {
        let (mut answers, mut is_refused) = (Vec::with_capacity(slot_hits.indices.len()), false);
        for (index, keyed) in slot_hits.indices.iter().zip(&slot_hits.keyed_hits) {
            let (hit, mut keyed) = (&hits[*index], keyed.clone());
            if is_refused {
                (keyed.hit.terms.cost, keyed.tokens) = (0, 0);
            }
            let slot_hits = SlotHits { slot: slot_hits.slot, indices: smallvec![*index], keyed_hits: smallvec![keyed] };
            let mut patience = Patience::until(due, self.settings.deadline / 4);
            let end = patience.wait(self.send(slot_hits.slot, slot_hits.work())).await;
            let Some(Ok(RouteEnd::Decided(mut outcomes))) = end else {
                answers.push(SlotAnswer { slot_hits, outcomes: None });
                break;
            };
            for outcome in &mut outcomes {
                outcome.over |= is_refused && u64::from(outcome.remaining) < hit.terms.cost;
            }
            is_refused |= hit.refuses && outcomes.iter().any(|outcome| outcome.over);
            answers.push(SlotAnswer { slot_hits, outcomes: Some(outcomes) });
        }
        answers
    }

    /// Makes one decision of several. Where a node refuses or fails, the hits that the others counted are refunded. Until then,
    /// other requests may be refused; the limit is never exceeded.
    async fn settle(&self, hits: &Hits, answers: &[SlotAnswer], due: Instant) -> Result<Outcomes, StoreFailed> {
        let mut outcomes: SmallVec<[Option<Outcome>; 2]> = SmallVec::from_elem(None, hits.len());
        let mut is_admitted = true;
        for SlotAnswer { slot_hits, outcomes: answer } in answers {
            is_admitted &= answer.is_some();
            for (index, outcome) in slot_hits.indices.iter().zip(answer.iter().flatten()) {
                is_admitted &= !(hits[*index].refuses && outcome.over);
                outcomes[*index] = Some(*outcome);
            }
        }
        if !is_admitted {
            let counted = answers.iter().flat_map(|SlotAnswer { slot_hits, .. }| {
                let indexed = slot_hits.indices.iter().zip(&slot_hits.keyed_hits);
                indexed.map(|(index, keyed)| (slot_hits.slot, *index, keyed))
            });
            let refunds = counted.filter_map(|(slot, index, keyed)| {
                let outcome = outcomes[index].filter(|outcome| outcome.taken > 0)?;
                outcomes[index] = Some(outcome.refunded());
                Some((slot, Refund::of(keyed.key.clone(), &hits[index], &outcome)))
            });
            let refunds: Vec<_> = refunds.collect();
            let refunds = join_all(refunds.into_iter().map(|(slot, refund)| self.send(slot, Work::Refund(refund))));
            // The refunds are sent. The request waits for them no longer than for its check.
            drop(timeout_at(due, refunds).await);
        }
        outcomes.into_iter().collect::<Option<_>>().ok_or(StoreFailed)
    }
}
