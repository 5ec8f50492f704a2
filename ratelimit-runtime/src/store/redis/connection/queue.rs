//! The queue of a connection: the part that a worker and the connection's task share. It holds the waiting checks and the pipeline.
//!
//! Usually the task sends the checks, after the worker has handled its other connections, so that many checks share a batch. But
//! where checks come one by one, there is nothing to wait for: the worker sends such a check itself, and the server decides while
//! the worker finishes its turn.

use std::{
    future::poll_fn,
    mem::{replace, take},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::{
    StoreFailed,
    redis::{
        failure::Failure,
        pipeline::{Pipeline, PipelineEvent, batch::Batch, check::QueuedCheck, refusals::Refusals},
    },
    server_clock::ServerClock,
};

/// The waiting checks of one connection, and its pipeline while it is open.
pub(crate) struct Queue {
    /// Whether the connection is down: it accepts no checks then. This flag and `is_closed` are set before the state is locked, so
    /// whoever locks it later sees them.
    is_down: AtomicBool,
    /// Whether the log reports a failure that has not ended.
    is_reported: AtomicBool,
    /// Whether the worker or the task has ended.
    is_closed: AtomicBool,
    /// The shapes of checks that the server refuses while it decides others.
    pub(crate) refusals: Refusals,
    state: Mutex<QueueState>,
}

struct QueueState {
    /// The checks that are not sent.
    waiting: Vec<QueuedCheck>,
    /// The initial capacity of the next list of waiting checks.
    capacity: usize,
    /// When the first waiting check came.
    since: Instant,
    /// The pipeline, while the connection is open.
    pipeline: Option<Pipeline>,
    /// Whether the waiting checks are for another server than the pipeline's.
    is_draining: bool,
    /// Whether the last batch was one check.
    was_lone: bool,
    /// Wakes the task when something is new.
    task: Option<Waker>,
}

/// What remains of a pipeline that is given up.
#[derive(Default)]
pub(crate) struct Unanswered {
    /// The batches to send on another connection.
    pub(crate) batches: Vec<Batch>,
    /// Whether there were requests whose batch was sent too often already.
    pub(crate) is_lost: bool,
}

/// How many checks wait, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) checks: usize,
    /// How long the first of them has waited.
    pub(crate) age: Duration,
    /// Whether the pipeline is open and nothing is in flight.
    pub(crate) is_idle: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let state = QueueState {
            waiting: Vec::new(),
            capacity: 0,
            since: Instant::now(),
            pipeline: None,
            is_draining: false,
            was_lone: true,
            task: None,
        };
        let no = || AtomicBool::new(false);
        Self {
            is_down: no(),
            is_reported: no(),
            is_closed: no(),
            refusals: Refusals::default(),
            state: Mutex::new(state),
        }
    }

    /// Accepts a check. If the last one came alone, too, it is sent at once. The task is woken in any case.
    pub(crate) fn push(&self, check: QueuedCheck) -> Result<(), StoreFailed> {
        let mut state = self.state.lock();
        if self.is_down() || self.is_closed() {
            return Err(StoreFailed);
        }
        if state.waiting.is_empty() {
            state.since = Instant::now();
        }
        state.waiting.push(check);
        if state.was_lone && state.is_idle() && !state.is_draining {
            state.send(&self.refusals);
            if let Some(pipeline) = &mut state.pipeline {
                pipeline.write_now();
            }
        }
        state.wake();
        Ok(())
    }

    /// Accepts no more checks, because the worker or the task has ended.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        self.state.lock().wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Relaxed);
    }

    /// Sets whether the log reports a failure, and returns whether it did.
    pub(crate) fn set_reported(&self, is_reported: bool) -> bool {
        self.is_reported.swap(is_reported, Relaxed)
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.is_reported.load(Relaxed)
    }

    /// Drops the waiting checks and the pipeline. Their requests learn that the store has failed.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let dropped = (take(&mut state.waiting), state.pipeline.take());
        // The requests are woken outside the lock.
        drop(state);
        drop(dropped);
    }

    /// Installs an open pipeline and sends these batches, then the waiting checks. Both must be answered before `due`.
    pub(crate) fn open(&self, mut pipeline: Pipeline, batches: Vec<Batch>, due: Instant) {
        let mut state = self.state.lock();
        for mut batch in batches.into_iter().chain(Batch::split(take(&mut state.waiting), &self.refusals)) {
            batch.due.get_or_insert(due);
            pipeline.send(batch);
        }
        state.pipeline = Some(pipeline);
        state.is_draining = false;
    }

    /// From now on checks wait: they belong to another server than this pipeline's.
    pub(crate) fn drain(&self) {
        self.state.lock().is_draining = true;
    }

    /// Drops the pipeline, and returns the checks that have no answer.
    pub(crate) fn abandon(&self) -> Unanswered {
        let mut state = self.state.lock();
        let mut unanswered = Unanswered::default();
        for batch in state.pipeline.take().into_iter().flat_map(Pipeline::into_unanswered) {
            let has_requests = batch.has_requests();
            match batch.retry_elsewhere() {
                Some(batch) => unanswered.batches.push(batch),
                None => unanswered.is_lost |= has_requests,
            }
        }
        unanswered.batches.extend(Batch::split(take(&mut state.waiting), &self.refusals));
        unanswered
    }

    /// Waits for the next event on the pipeline. There is none after a failure.
    pub(crate) async fn next(&self) -> Result<PipelineEvent, Failure> {
        poll_fn(|context| {
            let mut state = self.state.lock();
            let next = state.pipeline.as_mut().map_or(Poll::Pending, |pipeline| pipeline.poll_next(context));
            if next.is_pending() {
                // Under the same lock: a worker on another thread that sends from now on wakes the task.
                state.task = Some(context.waker().clone());
            }
            next
        })
        .await
    }

    /// Waits until more than so many checks wait, or no more can come.
    pub(crate) async fn more_than(&self, checks: usize) -> Waiting {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if state.waiting.len() > checks || self.is_closed() {
                return Poll::Ready(state.waiting());
            }
            state.task = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(crate) fn waiting(&self) -> Waiting {
        self.state.lock().waiting()
    }

    /// Sends the waiting checks. They are written when the next event is waited for.
    pub(crate) fn send(&self) {
        self.state.lock().send(&self.refusals);
    }

    /// Sends a batch again.
    pub(crate) fn resend(&self, batch: Batch) {
        if let Some(pipeline) = &mut self.state.lock().pipeline {
            pipeline.send(batch);
        }
    }

    /// Corrects the server's clock by the time in a reply, and returns the clock.
    pub(crate) fn observe_time(&self, time: Duration, sent: Instant, read: Instant) -> Option<ServerClock> {
        Some(self.state.lock().pipeline.as_mut()?.observe_time(time, sent, read))
    }
}

impl QueueState {
    /// Whether the pipeline is open and nothing is in flight.
    fn is_idle(&self) -> bool {
        self.pipeline.as_ref().is_some_and(Pipeline::is_empty)
    }

    fn waiting(&self) -> Waiting {
        Waiting { checks: self.waiting.len(), age: self.since.elapsed(), is_idle: self.is_idle() }
    }

    fn send(&mut self, refusals: &Refusals) {
        let Some(pipeline) = self.pipeline.as_mut().filter(|_| !self.waiting.is_empty()) else { return };
        self.was_lone = self.waiting.len() == 1;
        // The next batch is usually about as large as the larger ones of late.
        self.capacity = self.waiting.len().max(self.capacity - self.capacity / 8);
        let empty = Vec::with_capacity(self.capacity);
        for batch in Batch::split(replace(&mut self.waiting, empty), refusals) {
            pipeline.send(batch);
        }
    }

    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}
