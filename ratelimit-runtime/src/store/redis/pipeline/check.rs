//! A check in the queue or in a batch, and the answer that it waits for.

use tokio::sync::oneshot;

use crate::{
    decision::outcome::Outcomes,
    store::redis::{
        redirect::Redirect,
        work::{Delivery, Work},
    },
};

/// Work that is queued or in flight. Dropping it tells the waiting request that the store has failed.
pub(crate) struct QueuedCheck {
    pub(crate) work: Work,
    /// The slot of its counters. Outside a cluster, all checks have the same one.
    pub(crate) slot: u16,
    pub(crate) delivery: Delivery,
    pub(crate) reply: oneshot::Sender<CheckAnswer>,
}

/// What the server made of a check: its outcomes, or `None` for a failure.
pub(crate) type CheckResult = Option<Outcomes>;

/// What a request receives.
#[derive(Debug)]
pub(crate) enum CheckAnswer {
    Decided(Outcomes),
    /// Another node has the counters.
    Redirected(Redirect),
}

impl QueuedCheck {
    /// Work that no request waits for.
    pub(crate) fn without_request(work: Work) -> Self {
        Self { work, slot: 0, delivery: Delivery::Batched, reply: oneshot::channel().0 }
    }

    /// Whether the server still has to do the work. A request whose client has gone is not counted.
    pub(crate) fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Count(hits) => !self.reply.is_closed() || hits.iter().any(|hit| hit.is_refill),
            Work::Refund(_) | Work::Overdraft(_) | Work::Reset(..) | Work::Block(_) | Work::ReadMark => true,
        }
    }

    /// Whether both may be in one batch.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        self.slot == other.slot && [self.delivery, other.delivery] == [Delivery::Batched; 2]
    }
}
