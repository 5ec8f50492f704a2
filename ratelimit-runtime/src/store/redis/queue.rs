//! What a worker and the task that owns its connection have in common: the connection, and the checks that gather for it.
//!
//! The task sends them, when the worker has gone around its own connections. But where checks come one by one, there is nothing to
//! gather: the worker sends such a check itself, and the server decides while the worker comes to an end with the request.

use std::{
    future::poll_fn,
    mem::{replace, take},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Poll, Waker},
    time::Duration,
};

use crate::store::redis::{
    batch::{Batch, Check},
    failure::{Failure, StoreFailed},
    pipeline::Event,
    refusals::Refusals,
    server_clock::ServerClock,
    session::Session,
};
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) struct Queue {
    /// Whether the server fails: no check is taken then. This and `is_closed` are set before the state is locked, so whoever locks it
    /// later sees them.
    is_down: AtomicBool,
    /// Whether the log has been told of a failure, and not yet of its end.
    is_reported: AtomicBool,
    /// Whether the worker or the task is gone.
    is_closed: AtomicBool,
    /// The checks that the server refuses, though it decides others.
    pub(crate) refusals: Refusals,
    state: Mutex<State>,
}

struct State {
    /// The checks that are not sent.
    gathered: Vec<Check>,
    /// How many of them there is room for to begin with.
    room: usize,
    /// When the first of them came.
    since: Instant,
    /// The connection, if there is one.
    session: Option<Session>,
    /// Whether what gathers is for another server than that of the connection.
    is_leaving: bool,
    /// Whether what was sent last was one check by itself.
    was_lone: bool,
    /// Wakes the task when there is something new.
    task: Option<Waker>,
}

/// What is left of a connection that is given up.
#[derive(Default)]
pub(crate) struct Left {
    /// To be sent on another one.
    pub(crate) batches: Vec<Batch>,
    /// Whether there are requests that were sent too often already.
    pub(crate) is_lost: bool,
}

/// What has gathered.
#[derive(Clone, Copy)]
pub(crate) struct Gathered {
    pub(crate) checks: usize,
    /// For how long.
    pub(crate) age: Duration,
    /// Whether nothing else is under way.
    pub(crate) is_idle: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let state = State {
            gathered: Vec::new(),
            room: 0,
            since: Instant::now(),
            session: None,
            is_leaving: false,
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

    /// Takes a check, and sends it if the last one came alone, too. The task is told in any case.
    pub(crate) fn push(&self, check: Check) -> Result<(), StoreFailed> {
        let mut state = self.state.lock();
        if self.is_down() || self.is_closed() {
            return Err(StoreFailed);
        }
        if state.gathered.is_empty() {
            state.since = Instant::now();
        }
        state.gathered.push(check);
        if state.was_lone && state.is_idle() && !state.is_leaving {
            state.send(&self.refusals);
            if let Some(session) = &mut state.session {
                session.pipeline.write();
            }
        }
        state.wake();
        Ok(())
    }

    /// Takes no more checks, since the worker or the task is gone.
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

    /// Says whether the server fails, and returns whether it did.
    pub(crate) fn set_down(&self, is_down: bool) -> bool {
        self.is_down.swap(is_down, Relaxed)
    }

    /// Says whether the log has been told of a failure, and returns whether it had been.
    pub(crate) fn set_reported(&self, is_reported: bool) -> bool {
        self.is_reported.swap(is_reported, Relaxed)
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.is_reported.load(Relaxed)
    }

    /// Gives up what has gathered and what is under way.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let lost = (take(&mut state.gathered), state.session.take());
        drop(state);
        // Now those who wait for them are told.
        drop(lost);
    }

    /// Begins to send on a connection, first these batches, and what has gathered while there was none: it waits until `due`.
    pub(crate) fn open(&self, mut session: Session, batches: Vec<Batch>, due: Instant) {
        let mut state = self.state.lock();
        for mut batch in batches.into_iter().chain(Batch::split(take(&mut state.gathered), &self.refusals)) {
            batch.due.get_or_insert(due);
            session.send(batch);
        }
        state.session = Some(session);
        state.is_leaving = false;
    }

    /// Sends nothing more on the connection: what gathers is for another server.
    pub(crate) fn leave(&self) {
        self.state.lock().is_leaving = true;
    }

    /// Gives the connection up, and returns what was not answered.
    pub(crate) fn abandon(&self) -> Left {
        let mut state = self.state.lock();
        let mut left = Left::default();
        for batch in state.session.take().into_iter().flat_map(|session| session.pipeline.unanswered()) {
            let has_requests = batch.has_requests();
            match batch.again_elsewhere() {
                Some(batch) => left.batches.push(batch),
                None => left.is_lost |= has_requests,
            }
        }
        left.batches.extend(Batch::split(take(&mut state.gathered), &self.refusals));
        left
    }

    /// Waits for what is next on the connection; after a failure nothing is.
    pub(crate) async fn next(&self) -> Result<Event, Failure> {
        poll_fn(|context| {
            let mut state = self.state.lock();
            let next = state.session.as_mut().map_or(Poll::Pending, |session| session.pipeline.poll_next(context));
            if next.is_pending() {
                // Under the same lock: what a worker on another thread sends from now on, it tells the task.
                state.task = Some(context.waker().clone());
            }
            next
        })
        .await
    }

    /// Waits until more than so many checks have gathered, or none come any more.
    pub(crate) async fn more_than(&self, checks: usize) -> Gathered {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if state.gathered.len() > checks || self.is_closed() {
                return Poll::Ready(state.gathered());
            }
            state.task = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(crate) fn gathered(&self) -> Gathered {
        self.state.lock().gathered()
    }

    /// Sends what has gathered, when the next batch that comes back is waited for.
    pub(crate) fn send(&self) {
        self.state.lock().send(&self.refusals);
    }

    /// Sends a batch again.
    pub(crate) fn send_again(&self, batch: Batch) {
        if let Some(session) = &mut self.state.lock().session {
            session.send(batch);
        }
    }

    /// Takes in the server's time, as it was told in a reply to what was sent at `sent`; returns its clock.
    pub(crate) fn hear(&self, told: Duration, sent: Instant, read: Instant) -> Option<ServerClock> {
        let mut state = self.state.lock();
        let clock = &mut state.session.as_mut()?.clock;
        clock.hear(told, sent.into_std(), read.into_std());
        Some(*clock)
    }
}

impl State {
    /// Whether there is a connection, and nothing under way on it.
    fn is_idle(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.pipeline.is_empty())
    }

    fn gathered(&self) -> Gathered {
        Gathered { checks: self.gathered.len(), age: self.since.elapsed(), is_idle: self.is_idle() }
    }

    fn send(&mut self, refusals: &Refusals) {
        let Some(session) = self.session.as_mut().filter(|_| !self.gathered.is_empty()) else { return };
        self.was_lone = self.gathered.len() == 1;
        // As a rule, the next batch is about as large as the larger ones of late.
        self.room = self.gathered.len().max(self.room - self.room / 8);
        let room = Vec::with_capacity(self.room);
        for batch in Batch::split(replace(&mut self.gathered, room), refusals) {
            session.send(batch);
        }
    }

    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}
