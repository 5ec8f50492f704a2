//! The batches that are under way on a connection, and when the first of them is late.
//!
//! There is one timer, and it is not set anew for each batch: where it rings and no batch is late, it is set to the time at which one
//! would be. To set it costs a lone check dearly: the runtime writes to itself, to be woken earlier than it had in mind.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, Sleep, sleep_until};

use super::session::Landed;

pub(super) struct Flights<F> {
    under_way: FuturesUnordered<F>,
    /// Of the batches under way, in no order: there are few.
    dues: Vec<Instant>,
    /// Rings no later than the first of them is due, if there is one.
    timer: Pin<Box<Sleep>>,
}

/// A batch that was not answered in time.
pub(super) struct Late;

impl<F: Future<Output = Landed>> Flights<F> {
    pub(super) fn new() -> Self {
        Self { under_way: FuturesUnordered::new(), dues: Vec::new(), timer: Box::pin(sleep_until(Instant::now())) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Adds a batch that is sent, and due then.
    pub(super) fn push(&mut self, due: Instant, flight: F) {
        self.under_way.push(flight);
        self.dues.push(due);
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
    }

    /// Waits for the next batch that comes back, or is late; `None` if there is none under way.
    pub(super) async fn next(&mut self) -> Option<Result<Landed, Late>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Landed, Late>>> {
        if let Poll::Ready(landed) = self.under_way.poll_next_unpin(context) {
            if let Some((batch, _)) = &landed
                && let Some(index) = self.dues.iter().position(|due| *due == batch.due)
            {
                self.dues.swap_remove(index);
            }
            return Poll::Ready(landed.map(Ok));
        }
        while self.timer.as_mut().poll(context).is_ready() {
            match self.dues.iter().min() {
                Some(due) if Instant::now() < *due => self.timer.as_mut().reset(*due),
                _ => return Poll::Ready(Some(Err(Late))),
            }
        }
        Poll::Pending
    }
}
