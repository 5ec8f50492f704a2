//! A worker's handle of a connection.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::store::{
    StoreFailed,
    redis::{
        connection::queue::Queue,
        pipeline::check::{CheckAnswer, QueuedCheck},
        work::{Delivery, Work},
    },
};

/// Queues checks for a connection. The connection ends with its handle, after it has answered what is in flight.
pub(crate) struct ConnectionHandle(Arc<Queue>);

impl ConnectionHandle {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// Queues a check and returns where its answer will come.
    pub(crate) fn send(
        &self,
        work: Work,
        slot: u16,
        delivery: Delivery,
    ) -> Result<oneshot::Receiver<CheckAnswer>, StoreFailed> {
        let (reply, answer) = oneshot::channel();
        self.0.push(QueuedCheck { work, slot, delivery, reply })?;
        Ok(answer)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.0.is_down()
    }

    /// Ends the report of a failure in the log, because nobody waits for this connection any more. Returns whether there was one.
    pub(crate) fn end_report(&self) -> bool {
        self.0.set_reported(false)
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        self.0.close();
    }
}
