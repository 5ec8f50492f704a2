//! A connection: the task that owns a worker's socket to one server, and its states.
//!
//! ```text
//!         a check comes               opened                   another primary
//!   idle ───────────────► connecting ────────► serving ───────────────────────► draining
//!    ▲                     │  ▲  ▲              │ │ │                              │
//!    │                     │  │  └──────────────┼─┼─┼──────────────────────────────┘ the last reply
//!    │                     │  └─────────────────┘ │ │   closed with checks in flight
//!    └─────────────────────┼──────────────────────┘ │   closed with nothing in flight
//!                          ▼                        │
//!                         down ◄────────────────────┘   a late batch, or an error
//!                          │
//!                          └──────────────────► serving   a new pipeline has counted the probe
//! ```
//!
//! Connecting goes down when the deadline passes or an error comes. A connection that serves, and stays silent after an idle time,
//! opens another pipeline; the one that answers first is used, and the state stays the same.
//!
//! | state | checks that come | who moves it on |
//! |---|---|---|
//! | connecting | wait until the deadline | the end of the attempt, or the deadline |
//! | serving | are sent, in batches that do not wait for each other | the server, by closing or by an error; the deadline of a batch |
//! | draining | wait for the next server; those in flight are answered | the last reply |
//! | idle | wake the task | the next check |
//! | down | are refused at once, and the fallback answers them | the timer of the next attempt |
//!
//! A connection starts as connecting. It ends with its worker or its limiter, in any state.

pub(crate) mod answers;
pub(crate) mod handle;
pub(crate) mod opening;
pub(crate) mod probe;
pub(crate) mod queue;
pub(crate) mod recovery;
pub(crate) mod turns;

use std::{future::Future, pin::Pin, pin::pin, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    select,
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, sleep},
};

use crate::store::redis::{
    cache::LocalCache,
    connection::{
        answers::Learners,
        handle::ConnectionHandle,
        queue::{Queue, Unanswered, Waiting},
        recovery::Recovery,
        turns::GrowingBatch,
    },
    failure::Failure,
    pipeline::{AnsweredBatch, Pipeline, PipelineEvent, batch::Batch},
    redirect::Redirect,
    server_error::Blame,
    settings::Settings,
    topology::destination::Destination,
    transport::{patience::Patience, progress::Progress},
};

/// The task that owns a worker's connection.
pub(crate) struct Connection {
    settings: Arc<Settings>,
    destination: Arc<Destination>,
    queue: Arc<Queue>,
    cache: Arc<Mutex<LocalCache>>,
    /// Notified when the map of the cluster may be wrong.
    stale_map: Arc<Notify>,
    recovery: Recovery,
}

enum ConnectionState {
    Idle,
    /// With the batches that wait for the connection.
    Connecting(Vec<Batch>),
    /// Serving includes draining, in which nothing more is sent.
    Serving(Box<Serving>),
    Down,
}

struct Serving {
    pipeline: Pipeline,
    /// The batches to send first.
    batches: Vec<Batch>,
    /// When the checks that waited for the connection must be answered.
    due: Instant,
}

impl ConnectionState {
    fn serving(pipeline: Pipeline, batches: Vec<Batch>, due: Instant) -> Self {
        Self::Serving(Box::new(Serving { pipeline, batches, due }))
    }
}

/// An attempt to open another pipeline.
type Opening = Pin<Box<dyn Future<Output = Result<Pipeline, Failure>> + Send>>;

impl Connection {
    /// Starts the task of a connection on the worker's runtime.
    pub(crate) fn start(
        destination: Destination,
        stale_map: Arc<Notify>,
        settings: &Arc<Settings>,
        cache: &Arc<Mutex<LocalCache>>,
        limiter: &watch::Receiver<()>,
        runtime: &Handle,
    ) -> ConnectionHandle {
        let queue = Arc::new(Queue::new());
        let connection = Self {
            settings: Arc::clone(settings),
            destination: Arc::new(destination),
            queue: Arc::clone(&queue),
            cache: Arc::clone(cache),
            stale_map,
            recovery: Recovery::new(),
        };
        runtime.spawn(connection.run(limiter.clone()));
        ConnectionHandle::new(queue)
    }

    /// Serves checks until the limiter or the worker ends.
    async fn run(mut self, mut limiter: watch::Receiver<()>) {
        let serve = async {
            let mut state = ConnectionState::Connecting(Vec::new());
            while let Some(next) = self.step(state).await {
                state = next;
            }
        };
        select! {
            () = serve => {}
            // The sender sends nothing, so this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Stays in a state and returns the next one; `None` when the worker has ended.
    async fn step(&mut self, state: ConnectionState) -> Option<ConnectionState> {
        match state {
            ConnectionState::Idle => Some(self.wait_for_a_check().await),
            ConnectionState::Connecting(batches) => self.connect(batches).await,
            ConnectionState::Serving(serving) => self.serve(*serving).await,
            ConnectionState::Down => self.come_back().await,
        }
    }

    /// Idle: waits for a check.
    async fn wait_for_a_check(&mut self) -> ConnectionState {
        select! {
            biased;
            _ = self.queue.more_than(0) => ConnectionState::Connecting(Vec::new()),
            // Nothing has failed meanwhile.
            () = sleep(self.recovery.probation()), if self.queue.is_reported() => {
                self.end_failure();
                ConnectionState::Idle
            }
        }
    }

    /// Connecting: opens a pipeline while checks wait for it, until their deadline.
    async fn connect(&mut self, batches: Vec<Batch>) -> Option<ConnectionState> {
        if self.queue.is_closed() {
            return None;
        }
        let deadline = self.settings.deadline;
        let due = batches.iter().filter_map(|batch| batch.due).min();
        let left = due.map_or(deadline, |due| due.saturating_duration_since(Instant::now()));
        let (mut patience, progress) = (Patience::new(left), Arc::default());
        let failure = match patience.wait(self.open(&progress)).await {
            Some(Ok(pipeline)) => {
                let due = Instant::now() + patience.left();
                return Some(ConnectionState::serving(pipeline, batches, due));
            }
            Some(Err(failure)) => failure,
            None => Failure::LateIn(progress.step(), deadline),
        };
        drop(batches);
        Some(self.fail(&failure))
    }

    /// Down: waits, then tries to connect to a server that counts again.
    async fn come_back(&mut self) -> Option<ConnectionState> {
        // A random pause, so that the workers of many servers do not all come back at the same moment.
        sleep(self.recovery.pause().mul_f32(0.5 + fastrand::f32() / 2.0)).await;
        if self.queue.is_closed() {
            return None;
        }
        Some(match opening::reopen(&self.settings, &self.destination).await {
            Ok(pipeline) => {
                self.queue.set_down(false);
                self.serve_next(pipeline, Vec::new())
            }
            Err(failure) => self.fail(&failure),
        })
    }

    fn open(&self, progress: &Arc<Progress>) -> Opening {
        let (settings, destination) = (Arc::clone(&self.settings), Arc::clone(&self.destination));
        let progress = Arc::clone(progress);
        Box::pin(async move { opening::open(&settings, &destination, &progress).await })
    }

    /// Serving and draining: sends checks and answers them, until the state changes.
    async fn serve(&mut self, Serving { pipeline, batches, due }: Serving) -> Option<ConnectionState> {
        let (queue, destination) = (Arc::clone(&self.queue), Arc::clone(&self.destination));
        let mut other_server = pin!(destination.wait_for_other_than(pipeline.address().clone()));
        let (mut is_draining, mut has_answered) = (false, false);
        self.install(pipeline, batches, due);
        let mut probation = pin!(sleep(self.recovery.probation()));
        // An attempt to replace a pipeline that is silent.
        let mut replacement: Option<Opening> = None;
        let mut growing = GrowingBatch::default();
        loop {
            // Read first: checks that came before the queue was closed are among the waiting ones then.
            let is_closed = queue.is_closed();
            let Waiting { checks, is_idle, .. } = queue.waiting();
            if is_idle && is_draining {
                return Some(ConnectionState::Connecting(queue.abandon().batches));
            }
            if is_idle && is_closed && checks == 0 {
                return None;
            }
            let may_grow = select! {
                biased;
                event = queue.next() => {
                    if let Err(failure) = event.and_then(|event| self.handle(event, &mut replacement, &mut has_answered)) {
                        return Some(self.end(failure, has_answered));
                    }
                    queue.waiting().age < turns::LONGEST
                }
                // Those in flight are answered. Those that come wait for the other server.
                () = &mut other_server, if !is_draining && !is_closed => {
                    is_draining = true;
                    queue.drain();
                    true
                }
                opened = opened(&mut replacement), if replacement.is_some() => {
                    replacement = None;
                    // If the attempt failed, the batch still has until its deadline.
                    if let Ok(pipeline) = opened {
                        return Some(self.serve_next(pipeline, queue.abandon().batches));
                    }
                    true
                }
                () = &mut probation, if queue.is_reported() => {
                    self.end_failure();
                    true
                }
                // A closed queue gets no more checks. Those in flight are answered.
                waiting = queue.more_than(growing.seen(checks)), if !is_draining && !is_closed => {
                    growing.grew(waiting) && !queue.is_closed()
                }
                // No check has come in this turn.
                () = yield_now(), if checks > 0 && !is_draining => false,
            };
            if !may_grow && !is_draining {
                queue.send();
            }
            if queue.waiting().checks == 0 {
                growing.reset();
            }
        }
    }

    /// Starts to send on a pipeline. It may lead to another server, so the deny cache is emptied.
    fn install(&self, pipeline: Pipeline, batches: Vec<Batch>, due: Instant) {
        if let Some(deny_cache) = &self.settings.deny_cache {
            deny_cache.forget_all();
        }
        self.queue.open(pipeline, batches, due);
    }

    /// The state in which a pipeline serves that was opened without a check that waits for it.
    fn serve_next(&self, pipeline: Pipeline, batches: Vec<Batch>) -> ConnectionState {
        ConnectionState::serving(pipeline, batches, Instant::now() + self.settings.deadline)
    }

    /// Handles an event of the pipeline: answers a batch, or replaces a silent pipeline.
    fn handle(
        &self,
        event: PipelineEvent,
        replacement: &mut Option<Opening>,
        has_answered: &mut bool,
    ) -> Result<(), Failure> {
        match event {
            PipelineEvent::Silent => *replacement = Some(self.open(&Arc::default())),
            PipelineEvent::Answered(answered) => {
                self.answer(answered)?;
                (*replacement, *has_answered) = (None, true);
            }
        }
        Ok(())
    }

    /// Answers the checks of a batch, sends it again or redirects it. Fails with an error that concerns the server.
    fn answer(&self, AnsweredBatch { batch, reply, read }: AnsweredBatch) -> Result<(), Failure> {
        let (refusals, health) = (&self.queue.refusals, &*self.settings.health);
        match reply {
            Ok(reply) => {
                if let Some(clock) = self.queue.observe_time(reply.time, batch.sent, read) {
                    self.settings.clock.set(clock);
                }
                let deny_cache = self.settings.deny_cache.as_deref();
                let learners = Learners { deny_cache, cache: &self.cache, refusals, health };
                if let Some(undecided) = learners.answer(batch, &reply)? {
                    self.queue.resend(undecided);
                }
            }
            Err(error) => match self.destination.redirect(&error) {
                Some(redirect) => {
                    // A slot that is moving is still where the map says.
                    if matches!(redirect, Redirect::Moved(_)) {
                        self.stale_map.notify_one();
                    }
                    batch.redirect(&redirect);
                }
                None if Blame::of(&error) == Blame::Check => {
                    let batches = batch.refused(&error, refusals, health);
                    batches.into_iter().for_each(|batch| self.queue.resend(batch));
                }
                None => return Err(error.into()),
            },
        }
        Ok(())
    }

    /// The state after a pipeline has ended.
    fn end(&mut self, failure: Failure, has_answered: bool) -> ConnectionState {
        // Maybe only the connection is gone. Its checks get another one, within their time. A server or an administrator
        // also closes connections that are idle.
        if failure.is_disconnect() && self.recovery.may_replace(has_answered) {
            let Unanswered { batches, is_lost } = self.queue.abandon();
            match batches.is_empty() {
                _ if is_lost => {}
                true => return ConnectionState::Idle,
                false => return ConnectionState::Connecting(batches),
            }
        }
        self.fail(&failure)
    }

    /// Goes down: fails the checks that wait or are in flight, and those to come.
    fn fail(&mut self, failure: &Failure) -> ConnectionState {
        self.recovery.failed(Instant::now());
        // The failure of a connection without a worker concerns nobody.
        if !self.queue.is_closed() {
            self.queue.set_down(true);
            match self.queue.set_reported(true) {
                false => self.settings.health.failed(failure),
                true => self.settings.health.fails(failure),
            }
        }
        self.stale_map.notify_one();
        self.queue.clear();
        ConnectionState::Down
    }

    /// Ends a failure, after the connection has served for long enough.
    fn end_failure(&mut self) {
        self.recovery.is_over(Instant::now());
        if self.queue.set_reported(false) {
            self.settings.health.recovered();
        }
    }
}

/// Waits for the replacement, if one is being opened.
async fn opened(replacement: &mut Option<Opening>) -> Result<Pipeline, Failure> {
    match replacement {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.queue.close();
        self.queue.clear();
        self.queue.set_down(true);
        self.queue.refusals.abandon(&self.settings.health);
        if self.queue.set_reported(false) {
            self.settings.health.abandoned();
        }
    }
}
