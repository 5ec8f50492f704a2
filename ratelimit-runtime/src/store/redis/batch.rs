//! Checks that go to the server together, and what becomes of them when it has answered.

use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use tokio::{sync::oneshot, time::Instant};

use super::{
    cluster::Redirect,
    known::{Known, Learned},
    script::Reply,
};
use crate::{
    algorithm::Terms,
    key::Counter,
    store::{Hit, Hits, Outcomes, decide},
};

/// How often a batch is sent again: because the server's clock has passed the end of a window meanwhile, or because
/// the connection turned out to be closed.
const RETRIES: u8 = 3;

/// The most requests that one call of the script decides: it holds up the server's other clients meanwhile.
pub(super) const LARGEST_BATCH: usize = 256;

/// One request on its way to the store. It is answered by its sender: to drop it is to say that the store failed.
pub(super) struct Check {
    pub(super) work: Work,
    /// Of its counters in a cluster; elsewhere all have the same.
    pub(super) slot: u16,
    /// How it is to be sent, in a cluster whose slots are being moved.
    pub(super) passage: Passage,
    pub(super) reply: oneshot::Sender<Answer>,
}

#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Counts the hits, all or none of them.
    Count(Hits, Asks),
    /// Takes back what was counted and not used.
    GiveBack(Refund),
    /// Forgets what was counted.
    Reset(Counter, Terms),
}

/// What goes with each hit, in their order.
pub(super) type Asks = SmallVec<[Ask; 1]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// How many tokens to take, if there are as many: the request's cost, or more, to be spent later.
    pub(super) lot: u64,
    /// All of it is to be spent later: there is no request that waits for it.
    pub(super) is_refill: bool,
}

/// Tokens of a counter that were taken and not used.
#[derive(Clone, Debug)]
pub(super) struct Refund {
    pub(super) counter: Counter,
    pub(super) terms: Terms,
    pub(super) window_end: u64,
    pub(super) tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Passage {
    #[default]
    Usual,
    /// By itself: its counters may be on two nodes, and that must not stop others.
    Alone,
    /// By itself, to the node that its slot is being moved to.
    Asking,
}

#[derive(Debug)]
pub(super) enum Answer {
    Decided(Outcomes),
    /// Another node has the counters.
    Elsewhere(Redirect),
}

/// Checks that are sent together, and answered by `due`.
pub(super) struct Batch {
    pub(super) checks: Vec<Check>,
    /// When it was sent last.
    pub(super) sent: Instant,
    pub(super) due: Instant,
    retries: u8,
}

impl Check {
    /// Whose client has gone is not counted.
    pub(super) fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Count(_, asks) => !self.reply.is_closed() || asks.iter().any(|ask| ask.is_refill),
            Work::GiveBack(_) | Work::Reset(..) => true,
        }
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.slot == other.slot && [self.passage, other.passage] == [Passage::Usual; 2]
    }
}

impl Batch {
    fn new(check: Check, due: Instant) -> Self {
        Self { checks: vec![check], sent: Instant::now(), due, retries: RETRIES }
    }

    /// As many batches as it takes for each to be of one slot and not too large.
    pub(super) fn split(mut checks: Vec<Check>, due: Instant) -> SmallVec<[Self; 1]> {
        if checks.is_empty() {
            return SmallVec::new();
        }
        if checks.len() <= LARGEST_BATCH && checks.windows(2).all(|pair| pair[0].goes_with(&pair[1])) {
            return smallvec![Self { checks, sent: Instant::now(), due, retries: RETRIES }];
        }
        checks.sort_by_key(|check| check.slot);
        let mut batches = SmallVec::<[Self; 1]>::new();
        for check in checks {
            match batches.last_mut() {
                Some(last) if last.checks.len() < LARGEST_BATCH && last.checks[0].goes_with(&check) => {
                    last.checks.push(check);
                }
                _ => batches.push(Self::new(check, due)),
            }
        }
        batches
    }

    /// How it is to be sent: where it is not the usual, it is of one check.
    pub(super) fn passage(&self) -> Passage {
        self.checks.first().map_or(Passage::Usual, |check| check.passage)
    }

    /// Answers the checks that the server has decided; the others are to be sent again.
    pub(super) fn answer(mut self, reply: Reply, known: &Mutex<Known>) -> Option<Self> {
        // The server looked at its clock after the batch was sent, so its windows end no earlier.
        let (now, sent) = (reply.time, self.sent.into_std());
        let mut known = known.lock();
        let mut undecided = Vec::new();
        for (check, found) in self.checks.into_iter().zip(reply.found) {
            let Some(found) = found else {
                undecided.push(check);
                continue;
            };
            let outcomes = match &check.work {
                Work::GiveBack(_) | Work::Reset(..) => Outcomes::new(),
                Work::Count(hits, asks) => {
                    let decision = decide(hits, &found, now);
                    for (((hit, ask), found), outcome) in hits.iter().zip(asks).zip(&found).zip(&decision.outcomes) {
                        if !decision.admitted || ask.lot > hit.terms.cost {
                            let reset = hit.terms.reset(*found, !outcome.over, now);
                            let ends = sent + reset.saturating_sub(now);
                            let used = hit.terms.used(*found, now);
                            known.learn(hit, *ask, Learned { used, outcome: *outcome, ends });
                        }
                    }
                    let is_leased = |(hit, ask): (&Hit, &Ask)| hit.lease > 1 && !ask.is_refill;
                    let may_have_tokens = !decision.admitted && hits.iter().zip(asks).any(is_leased);
                    // It may have been refused because of the lot that this worker has just taken itself.
                    let leased = may_have_tokens.then(|| known.decide(hits)).flatten();
                    leased.unwrap_or(decision.outcomes)
                }
            };
            // Nobody may be waiting any more.
            drop(check.reply.send(Answer::Decided(outcomes)));
        }
        self.checks = undecided;
        if self.checks.is_empty() { None } else { self.again() }
    }

    /// Tells the checks where else to ask.
    pub(super) fn redirect(self, redirect: &Redirect) {
        for check in self.checks {
            drop(check.reply.send(Answer::Elsewhere(redirect.clone())));
        }
    }

    /// To be sent again on another connection. What the first has brought about is not known: requests may be counted
    /// twice, which admits fewer; but nothing is given back twice.
    pub(super) fn again_elsewhere(mut self) -> Option<Self> {
        self.checks.retain(|check| !matches!(check.work, Work::GiveBack(_)));
        if self.checks.is_empty() { None } else { self.again() }
    }

    fn again(mut self) -> Option<Self> {
        self.retries = self.retries.checked_sub(1)?;
        Some(self)
    }
}
