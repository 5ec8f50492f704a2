//! Checks that go to the server together, and what becomes of them when it has answered.

use parking_lot::Mutex;
use redis::RedisError;
use smallvec::{SmallVec, smallvec};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Settings,
    blame::Blame,
    cluster::Redirect,
    health::Health,
    known::{Known, Learned},
    refusals::Refusals,
    script::{Reply, Told},
};
use crate::{
    decision::outcome::Outcomes,
    rule::terms::Terms,
    store::{CounterKey, Hit, Hits},
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
    Count(Asks),
    /// Takes back what was counted and not used.
    GiveBack(Refund),
    /// Forgets what was counted.
    Reset(CounterKey, Terms),
    /// Reads the mark.
    ReadMark,
}

/// What a request asks for: one part for each of its hits.
pub(super) type Asks = SmallVec<[Ask; 1]>;

#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) hit: Hit,
    pub(super) key: CounterKey,
    /// How many tokens to take, if there are as many: the request's cost, or more, to be spent later.
    pub(super) lot: u64,
    /// All of it is to be spent later: there is no request that waits for it.
    pub(super) is_refill: bool,
}

/// Tokens of a counter that were taken and not used.
#[derive(Clone, Debug)]
pub(super) struct Refund {
    pub(super) key: CounterKey,
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

/// Checks that are sent together.
pub(super) struct Batch {
    pub(super) checks: Vec<Check>,
    /// When it was sent last.
    pub(super) sent: Instant,
    /// When its requests have waited for long enough; `None` while it waits for the worker alone.
    pub(super) due: Option<Instant>,
    retries: u8,
}

impl Work {
    /// A counter that it is about, as are all others in a cluster's slot.
    pub(super) fn key(&self) -> Option<&CounterKey> {
        match self {
            Self::Count(asks) => asks.first().map(|ask| &ask.key),
            Self::GiveBack(Refund { key, .. }) | Self::Reset(key, _) => Some(key),
            Self::ReadMark => None,
        }
    }

    pub(super) fn has_several_counters(&self) -> bool {
        matches!(self, Self::Count(asks) if asks.len() > 1)
    }
}

impl Check {
    /// Work that nobody waits for.
    pub(super) fn of(work: Work) -> Self {
        Self { work, slot: 0, passage: Passage::Usual, reply: oneshot::channel().0 }
    }

    /// Whose client has gone is not counted.
    fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Count(asks) => !self.reply.is_closed() || asks.iter().any(|ask| ask.is_refill),
            Work::GiveBack(_) | Work::Reset(..) | Work::ReadMark => true,
        }
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.slot == other.slot && [self.passage, other.passage] == [Passage::Usual; 2]
    }
}

impl Batch {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        Self { checks, sent: Instant::now(), due: None, retries: RETRIES }
    }

    /// As many batches as it takes for each to be of one slot and not too large, and for checks that are likely to be refused to go
    /// alone. What nobody waits for any more is left out.
    pub(super) fn split(mut checks: Vec<Check>, refusals: &Refusals) -> SmallVec<[Self; 1]> {
        checks.retain(Check::is_wanted);
        if refusals.are_known() {
            let is_together = |check: &&mut Check| check.passage == Passage::Usual;
            for check in checks.iter_mut().filter(is_together).filter(|check| refusals.goes_alone(&check.work)) {
                check.passage = Passage::Alone;
            }
        }
        if checks.is_empty() {
            return SmallVec::new();
        }
        if checks.len() <= LARGEST_BATCH && checks.windows(2).all(|pair| pair[0].goes_with(&pair[1])) {
            return smallvec![Self::new(checks)];
        }
        checks.sort_by_key(|check| check.slot);
        let mut batches = SmallVec::<[Self; 1]>::new();
        for check in checks {
            match batches.last_mut() {
                Some(last) if last.checks.len() < LARGEST_BATCH && last.checks[0].goes_with(&check) => {
                    last.checks.push(check);
                }
                _ => batches.push(Self::new(vec![check])),
            }
        }
        batches
    }

    /// How it is to be sent: where it is not the usual, it is of one check.
    pub(super) fn passage(&self) -> Passage {
        self.checks.first().map_or(Passage::Usual, |check| check.passage)
    }

    /// Answers the checks that the server has decided, or failed to decide; the others are to be sent again. Or fails with
    /// what the server says of itself.
    pub(super) fn answer(
        mut self,
        reply: &Reply,
        settings: &Settings,
        known: &Mutex<Known>,
        refusals: &Refusals,
    ) -> Result<Option<Self>, RedisError> {
        // The server looked at its clock after the batch was sent, so its windows end no earlier.
        let sent = self.sent.into_std();
        let works = self.works();
        let mut decided = vec![None; works.len()];
        let mut condemned = None;
        let mut known = known.lock();
        if refusals.are_known() && reply.counters() > 1 {
            refusals.joined(&settings.health);
        }
        reply.read(&works, |index, told| {
            let (asks, found, decision) = match (works[index], told) {
                (work, Told::Failed(error)) => {
                    match Blame::of(error) {
                        Blame::Check => refusals.refused(work, false, error, &settings.health),
                        Blame::Server | Blame::Connection => condemned = Some(error.clone()),
                    }
                    decided[index] = Some(None);
                    return;
                }
                (Work::Count(asks), Told::Decided(found, decision)) => (asks, found, decision),
                (work, told) => {
                    if let (Work::ReadMark, Told::Done(mark), Some(denials)) = (work, told, &settings.denials)
                        && let Ok(mark) = u64::try_from(mark)
                    {
                        denials.hear(mark, sent, reply.time);
                    }
                    decided[index] = Some(Some(Outcomes::new()));
                    return;
                }
            };
            for ((ask, found), outcome) in asks.iter().zip(found).zip(&decision.outcomes) {
                if !decision.admitted || ask.lot > ask.hit.terms.cost {
                    let reset = ask.hit.terms.reset(*found, !outcome.over, reply.time);
                    let ends = sent + reset.saturating_sub(reply.time);
                    let used = ask.hit.terms.used(*found, reply.time);
                    known.learn(ask, Learned { used, outcome: *outcome, ends });
                }
            }
            if let (Some(denials), [ask], [found], false) = (&mut known.denials, &asks[..], found, decision.admitted) {
                let window_end = decision.outcomes.first().map_or(0, |outcome| outcome.window_end);
                denials.learn(&ask.hit, ask.hit.terms.used(*found, reply.time), window_end, reply.time);
            }
            let is_leased = |ask: &Ask| ask.hit.lease > 1 && !ask.is_refill;
            // It may have been refused because of the lot that this worker has just taken itself.
            let leased = if !decision.admitted && asks.iter().any(is_leased) {
                known.decide(&asks.iter().map(|ask| ask.hit).collect::<Hits>(), Instant::now().into_std())
            } else {
                None
            };
            decided[index] = Some(Some(leased.unwrap_or(decision.outcomes)));
        });
        drop(known);
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

    /// Takes in that the server has refused the batch as a whole. If that may be because of some of its checks, each is to be sent
    /// again by itself; a check that came alone has failed.
    pub(super) fn refused(self, error: &RedisError, refusals: &Refusals, health: &Health) -> Vec<Self> {
        if let [check] = &self.checks[..] {
            refusals.refused(&check.work, true, error, health);
            return Vec::new();
        }
        let code = error.code();
        if code == Some("CROSSSLOT") {
            refusals.parted(error, health);
        }
        // These are looked for before the script begins; of others it may have given something back already.
        let is_untouched = matches!(code, Some("CROSSSLOT" | "NOPERM" | "MOVED" | "ASK" | "TRYAGAIN"));
        let is_wanted = |check: &Check| check.is_wanted() && (is_untouched || !matches!(check.work, Work::GiveBack(_)));
        let Some(Self { checks, sent, due, retries }) = self.again() else { return Vec::new() };
        let checks = checks.into_iter().filter(is_wanted);
        checks.map(|check| Self { checks: vec![check], sent, due, retries }).collect()
    }

    pub(super) fn works(&self) -> Vec<&Work> {
        self.checks.iter().map(|check| &check.work).collect()
    }

    /// Tells the checks where else to ask.
    pub(super) fn redirect(self, redirect: &Redirect) {
        for check in self.checks {
            drop(check.reply.send(Answer::Elsewhere(redirect.clone())));
        }
    }

    /// Whether there are requests that wait for it.
    pub(super) fn has_requests(&self) -> bool {
        self.checks.iter().any(|check| !check.reply.is_closed())
    }

    /// Tells the requests that the store has failed. The answer may still come, and is learned from.
    pub(super) fn give_up(&mut self) {
        for check in &mut self.checks {
            check.reply = oneshot::channel().0;
        }
    }

    /// To be sent again on another connection. What the first has brought about is not known: requests may be counted
    /// twice, which admits fewer; but nothing is given back twice.
    pub(super) fn again_elsewhere(mut self) -> Option<Self> {
        self.checks.retain(|check| check.is_wanted() && !matches!(check.work, Work::GiveBack(_)));
        if self.checks.is_empty() { None } else { self.again() }
    }

    fn again(mut self) -> Option<Self> {
        self.retries = self.retries.checked_sub(1)?;
        Some(self)
    }
}
