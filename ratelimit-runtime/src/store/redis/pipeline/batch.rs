//! A batch: checks that one call of the script decides.

use redis::RedisError;
use smallvec::{SmallVec, smallvec};
use tokio::{sync::oneshot, time::Instant};

use crate::store::redis::{
    health::Health,
    pipeline::{
        check::{CheckAnswer, CheckResult, QueuedCheck},
        refusals::Refusals,
    },
    redirect::Redirect,
    work::{Delivery, Work},
};

/// How often a batch is sent again, because a window ended before the server decided, or because the connection was closed.
const RETRIES: u8 = 3;

/// The largest batch. The server serves no other client while it decides one.
pub(crate) const LARGEST_BATCH: usize = 256;

/// Checks that are sent together.
pub(crate) struct Batch {
    pub(crate) checks: Vec<QueuedCheck>,
    /// When it was sent last.
    pub(crate) sent: Instant,
    /// When its requests have waited long enough; `None` until it is sent for the first time.
    pub(crate) due: Option<Instant>,
    retries: u8,
}

impl Batch {
    pub(crate) fn new(checks: Vec<QueuedCheck>) -> Self {
        Self { checks, sent: Instant::now(), due: None, retries: RETRIES }
    }

    /// Splits checks into batches: each is for one slot and is not too large. Checks that the server is likely to refuse go
    /// alone. Checks that nobody waits for are dropped.
    pub(crate) fn split(mut checks: Vec<QueuedCheck>, refusals: &Refusals) -> SmallVec<[Self; 1]> {
        checks.retain(QueuedCheck::is_wanted);
        if refusals.has_any() {
            let is_batched = |check: &&mut QueuedCheck| check.delivery == Delivery::Batched;
            for check in checks.iter_mut().filter(is_batched).filter(|check| refusals.goes_alone(&check.work)) {
                check.delivery = Delivery::Alone;
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

    /// How it is sent. A batch of several checks is always [`Delivery::Batched`].
    pub(crate) fn delivery(&self) -> Delivery {
        self.checks.first().map_or(Delivery::Batched, |check| check.delivery)
    }

    pub(crate) fn works(&self) -> Vec<&Work> {
        self.checks.iter().map(|check| &check.work).collect()
    }

    /// Answers the checks that have a result, and keeps the others. `results` has one entry for each check.
    pub(crate) fn answer(&mut self, results: Vec<Option<CheckResult>>) {
        let mut unanswered = Vec::new();
        for (check, result) in self.checks.drain(..).zip(results) {
            match result {
                // The request may be gone.
                Some(Some(outcomes)) => drop(check.reply.send(CheckAnswer::Decided(outcomes))),
                // Dropping the check tells the request that the store has failed.
                Some(None) => {}
                None => unanswered.push(check),
            }
        }
        self.checks = unanswered;
    }

    /// Handles the refusal of the whole batch. If one of several checks may be the cause, each is sent again by itself. A
    /// check that came alone has failed.
    pub(crate) fn refused(self, error: &RedisError, refusals: &Refusals, health: &Health) -> Vec<Self> {
        if let [check] = &self.checks[..] {
            refusals.refused(&check.work, true, error, health);
            return Vec::new();
        }
        let code = error.code();
        if code == Some("CROSSSLOT") {
            refusals.separated(error, health);
        }
        // Redis detects these before the script starts. After other errors a refund may have been made already.
        let is_untouched = matches!(code, Some("CROSSSLOT" | "NOPERM" | "MOVED" | "ASK" | "TRYAGAIN"));
        let is_wanted = |check: &QueuedCheck| check.is_wanted() && (is_untouched || !check.work.is_done_once());
        let Some(Self { checks, sent, due, retries }) = self.retry() else { return Vec::new() };
        let checks = checks.into_iter().filter(is_wanted);
        checks.map(|check| Self { checks: vec![check], sent, due, retries }).collect()
    }

    /// Answers all checks with a redirect.
    pub(crate) fn redirect(self, redirect: &Redirect) {
        for check in self.checks {
            drop(check.reply.send(CheckAnswer::Redirected(redirect.clone())));
        }
    }

    /// Whether requests wait for it.
    pub(crate) fn has_requests(&self) -> bool {
        self.checks.iter().any(|check| !check.reply.is_closed())
    }

    /// Tells the requests that the store has failed. The batch stays in flight, and its reply still reaches the local cache.
    pub(crate) fn give_up(&mut self) {
        for check in &mut self.checks {
            check.reply = oneshot::channel().0;
        }
    }

    /// The batch, for another connection. The server may have decided it on the first one, so requests may be counted twice,
    /// which admits fewer. Refunds are dropped: to make one twice would admit more.
    pub(crate) fn retry_elsewhere(mut self) -> Option<Self> {
        self.checks.retain(|check| check.is_wanted() && !check.work.is_done_once());
        if self.checks.is_empty() { None } else { self.retry() }
    }

    /// The batch, unless it was sent too often.
    pub(crate) fn retry(mut self) -> Option<Self> {
        self.retries = self.retries.checked_sub(1)?;
        Some(self)
    }
}
