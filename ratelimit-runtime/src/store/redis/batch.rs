//! Checks that go to the server together, and what becomes of them when it has answered.

use redis::RedisError;
use smallvec::{SmallVec, smallvec};
use tokio::{sync::oneshot, time::Instant};

use crate::store::redis::{
    health::Health,
    redirect::Redirect,
    refusals::Refusals,
    work::{Answer, SendMode, Work},
};

/// How often a batch is sent again: because the server's clock has passed the end of a window meanwhile, or because
/// the connection turned out to be closed.
const RETRIES: u8 = 3;

/// The most requests that one call of the script decides: it holds up the server's other clients meanwhile.
pub(crate) const LARGEST_BATCH: usize = 256;

/// One request on its way to the store. It is answered by its sender: to drop it is to say that the store failed.
pub(crate) struct Check {
    pub(crate) work: Work,
    /// Of its counters in a cluster; elsewhere all have the same.
    pub(crate) slot: u16,
    /// How it is to be sent, in a cluster whose slots are being moved.
    pub(crate) mode: SendMode,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// Checks that are sent together.
pub(crate) struct Batch {
    pub(crate) checks: Vec<Check>,
    /// When it was sent last.
    pub(crate) sent: Instant,
    /// When its requests have waited for long enough; `None` while it waits for the worker alone.
    pub(crate) due: Option<Instant>,
    retries: u8,
}

impl Check {
    /// Work that nobody waits for.
    pub(crate) fn of(work: Work) -> Self {
        Self { work, slot: 0, mode: SendMode::Usual, reply: oneshot::channel().0 }
    }

    /// Whose client has gone is not counted.
    fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Count(asks) => !self.reply.is_closed() || asks.iter().any(|ask| ask.is_refill),
            Work::Refund(_) | Work::Reset(..) | Work::ReadMark => true,
        }
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.slot == other.slot && [self.mode, other.mode] == [SendMode::Usual; 2]
    }
}

impl Batch {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        Self { checks, sent: Instant::now(), due: None, retries: RETRIES }
    }

    /// As many batches as it takes for each to be of one slot and not too large, and for checks that are likely to be refused to go
    /// alone. What nobody waits for any more is left out.
    pub(crate) fn split(mut checks: Vec<Check>, refusals: &Refusals) -> SmallVec<[Self; 1]> {
        checks.retain(Check::is_wanted);
        if refusals.are_known() {
            let is_together = |check: &&mut Check| check.mode == SendMode::Usual;
            for check in checks.iter_mut().filter(is_together).filter(|check| refusals.goes_alone(&check.work)) {
                check.mode = SendMode::Alone;
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
    pub(crate) fn mode(&self) -> SendMode {
        self.checks.first().map_or(SendMode::Usual, |check| check.mode)
    }

    /// Takes in that the server has refused the batch as a whole. If that may be because of some of its checks, each is to be sent
    /// again by itself; a check that came alone has failed.
    pub(crate) fn refused(self, error: &RedisError, refusals: &Refusals, health: &Health) -> Vec<Self> {
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
        let is_wanted = |check: &Check| check.is_wanted() && (is_untouched || !matches!(check.work, Work::Refund(_)));
        let Some(Self { checks, sent, due, retries }) = self.again() else { return Vec::new() };
        let checks = checks.into_iter().filter(is_wanted);
        checks.map(|check| Self { checks: vec![check], sent, due, retries }).collect()
    }

    pub(crate) fn works(&self) -> Vec<&Work> {
        self.checks.iter().map(|check| &check.work).collect()
    }

    /// Tells the checks where else to ask.
    pub(crate) fn redirect(self, redirect: &Redirect) {
        for check in self.checks {
            drop(check.reply.send(Answer::Elsewhere(redirect.clone())));
        }
    }

    /// Whether there are requests that wait for it.
    pub(crate) fn has_requests(&self) -> bool {
        self.checks.iter().any(|check| !check.reply.is_closed())
    }

    /// Tells the requests that the store has failed. The answer may still come, and is learned from.
    pub(crate) fn give_up(&mut self) {
        for check in &mut self.checks {
            check.reply = oneshot::channel().0;
        }
    }

    /// To be sent again on another connection. What the first has brought about is not cache: requests may be counted
    /// twice, which admits fewer; but nothing is refunded twice.
    pub(crate) fn again_elsewhere(mut self) -> Option<Self> {
        self.checks.retain(|check| check.is_wanted() && !matches!(check.work, Work::Refund(_)));
        if self.checks.is_empty() { None } else { self.again() }
    }

    pub(crate) fn again(mut self) -> Option<Self> {
        self.retries = self.retries.checked_sub(1)?;
        Some(self)
    }
}
