//! A worker's connection to a server, and the task that owns it.
//!
//! The states of the connection, and what moves it from one to the next:
//!
//! ```text
//!                 a check comes                     connected
//!        idle ───────────────────► connecting ─────────────────► serving ◄──┐ another connection answers
//!         ▲                         │   ▲  ▲                      │ │ │ └───┘ where this one is silent
//!         │                         │   │  │  no longer the       │ │ │
//!         │                         │   │  └── primary: drained ──┘ │ │
//!         │                         │   │      closed with checks   │ │
//!         │                         │   └── under way ──────────────┤ │
//!         └─────────────────────────│───────── closed while quiet ──┘ │
//!                  the deadline, or │                                 │ a deadline,
//!                  an error         └────────────► down ◄─────────────┘ or an error
//!                                                   └─► serving: connected, and the probe is counted in time
//! ```
//!
//! While it is *connecting*, checks wait, until the deadline. While it is *down*, checks are not taken: the fallback answers
//! them without waiting. *Draining* is serving without sending.
//!
//! The checks that arrive while the worker handles its other requests go out together, as one call of the script;
//! batches do not wait for each other. A batch has one deadline.
//!
//! To send one is dear: it wakes the server, which costs both sides many times what a check in it does. So a worker that
//! is busy looks once or twice more for requests before it sends those that it has; a lone request waits for nothing.

use std::{future::Future, pin::Pin, pin::pin, sync::Arc, time::Duration};

use crate::store::redis::{
    batch::Batch,
    blame::Blame,
    failure::Failure,
    local_cache::LocalCache,
    patience::Patience,
    pipeline::{Event, Received},
    queue::{Gathered, Left, Queue},
    recovery::Recovery,
    redirect::Redirect,
    session::Session,
    settings::Settings,
    target::Target,
    transport::progress::Progress,
};
use parking_lot::Mutex;
use tokio::{
    select,
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, sleep},
};

/// How many turns of the worker, each once around all of its connections, a batch may grow in after the first, and for how
/// long: where a turn takes longer, the next one would cost more than it saves.
const TURNS: usize = 2;
const LONGEST_TURNS: Duration = Duration::from_micros(500);

/// The task that owns a worker's connection.
pub(crate) struct Connection {
    settings: Arc<Settings>,
    target: Arc<Target>,
    queue: Arc<Queue>,
    cache: Arc<Mutex<LocalCache>>,
    /// CheckReply when another node may have taken over.
    stale: Arc<Notify>,
    recovery: Recovery,
}

enum State {
    Idle,
    /// With what waits for the connection.
    Connecting(Vec<Batch>),
    Serving(Box<Serving>),
    Down,
}

struct Serving {
    session: Session,
    /// What is sent first.
    batches: Vec<Batch>,
    /// Until when that waits which has gathered meanwhile.
    due: Instant,
}

impl State {
    fn serving(session: Session, batches: Vec<Batch>, due: Instant) -> Self {
        Self::Serving(Box::new(Serving { session, batches, due }))
    }
}

/// Another connection on its way.
type Opening = Pin<Box<dyn Future<Output = Result<Session, Failure>> + Send>>;

impl Connection {
    pub(crate) fn new(
        settings: Arc<Settings>,
        target: Target,
        queue: Arc<Queue>,
        cache: Arc<Mutex<LocalCache>>,
        stale: Arc<Notify>,
    ) -> Self {
        Self { settings, target: Arc::new(target), queue, cache, stale, recovery: Recovery::new() }
    }

    /// Serves checks until the limiter or the worker is gone.
    pub(crate) async fn run(mut self, mut limiter: watch::Receiver<()>) {
        let serve = async {
            let mut state = State::Connecting(Vec::new());
            while let Some(next) = self.step(state).await {
                state = next;
            }
        };
        select! {
            () = serve => {}
            // The sender never sends: this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Stays in a state until there is another; `None` when the worker is gone.
    async fn step(&mut self, state: State) -> Option<State> {
        match state {
            State::Idle => Some(self.wait_for_a_check().await),
            State::Connecting(batches) => self.connect(batches).await,
            State::Serving(serving) => self.serve(*serving).await,
            State::Down => self.come_back().await,
        }
    }

    async fn wait_for_a_check(&mut self) -> State {
        select! {
            biased;
            _ = self.queue.more_than(0) => State::Connecting(Vec::new()),
            // Nothing has failed meanwhile.
            () = sleep(self.recovery.probation()), if self.queue.is_reported() => {
                self.is_over();
                State::Idle
            }
        }
    }

    /// Opens a connection for checks that wait for it, as long as their deadline allows.
    async fn connect(&mut self, batches: Vec<Batch>) -> Option<State> {
        if self.queue.is_closed() {
            return None;
        }
        let deadline = self.settings.deadline;
        let due = batches.iter().filter_map(|batch| batch.due).min();
        let left = due.map_or(deadline, |due| due.saturating_duration_since(Instant::now()));
        let (mut patience, progress) = (Patience::new(left), Arc::default());
        let failure = match patience.wait(self.open(&progress)).await {
            Some(Ok(session)) => {
                let due = Instant::now() + patience.left();
                return Some(State::serving(session, batches, due));
            }
            Some(Err(failure)) => failure,
            None => Failure::LateIn(progress.step(), deadline),
        };
        drop(batches);
        Some(self.fail(&failure))
    }

    /// Tries to connect until the server answers again, and counts.
    async fn come_back(&mut self) -> Option<State> {
        // Spread, so that the workers of many servers do not all come back in the same moment.
        sleep(self.recovery.pause().mul_f32(0.5 + fastrand::f32() / 2.0)).await;
        if self.queue.is_closed() {
            return None;
        }
        Some(match Session::open_again(&self.settings, &self.target).await {
            Ok(session) => {
                self.queue.set_down(false);
                let due = Instant::now() + self.settings.deadline;
                State::serving(session, Vec::new(), due)
            }
            Err(failure) => self.fail(&failure),
        })
    }

    fn open(&self, progress: &Arc<Progress>) -> Opening {
        let (settings, target, progress) = (Arc::clone(&self.settings), Arc::clone(&self.target), Arc::clone(progress));
        Box::pin(async move { Session::open(&settings, &target, &progress).await })
    }

    /// Gives up what is under way, and lets the requests know, those that wait and those to come.
    fn fail(&mut self, failure: &Failure) -> State {
        self.recovery.failed(Instant::now());
        // A connection that nobody has any more is nobody's failure.
        if !self.queue.is_closed() {
            self.queue.set_down(true);
            match self.queue.set_reported(true) {
                false => self.settings.health.failed(failure),
                true => self.settings.health.fails(failure),
            }
        }
        self.stale.notify_one();
        self.queue.clear();
        State::Down
    }

    /// The connection has served for long enough after a failure.
    fn is_over(&mut self) {
        self.recovery.is_over(Instant::now());
        if self.queue.set_reported(false) {
            self.settings.health.recovered();
        }
    }

    /// Sends checks and answers them, until there is something else to do.
    async fn serve(&mut self, Serving { session, batches, due }: Serving) -> Option<State> {
        let (queue, target) = (Arc::clone(&self.queue), Arc::clone(&self.target));
        if let Some(deny_cache) = &self.settings.deny_cache {
            deny_cache.forget_all();
        }
        let mut leave = pin!(target.leave(session.address().clone()));
        let (mut is_leaving, mut has_answered) = (false, false);
        queue.open(session, batches, due);
        let mut probation = pin!(sleep(self.recovery.probation()));
        // In place of one that is silent.
        let mut another: Option<Opening> = None;
        // How many checks had gathered in the last turn, and for how many turns they have.
        let (mut seen, mut turns) = (0, 0);
        loop {
            // Looked at first: what was pushed before the queue was closed is among the checks then.
            let is_closed = queue.is_closed();
            let Gathered { checks, is_idle, .. } = queue.gathered();
            // A worker on another thread may have sent them itself.
            seen = seen.min(checks);
            if is_idle && is_leaving {
                return Some(State::Connecting(queue.abandon().batches));
            }
            if is_idle && is_closed && checks == 0 {
                return None;
            }
            let may_grow = select! {
                biased;
                event = queue.next() => {
                    match event {
                        Ok(Event::Silence) => another = Some(self.open(&Arc::default())),
                        Ok(Event::Received(received)) => match self.land(received) {
                            Ok(()) => (another, has_answered) = (None, true),
                            Err(failure) => return Some(self.end(failure, has_answered)),
                        }
                        Err(failure) => return Some(self.end(failure, has_answered)),
                    }
                    queue.gathered().age < LONGEST_TURNS
                }
                // What is under way is answered; what comes waits for the other server.
                () = &mut leave, if !is_leaving && !is_closed => {
                    is_leaving = true;
                    queue.leave();
                    true
                }
                opened = opening(&mut another), if another.is_some() => {
                    another = None;
                    // If it failed, too, the batch is waited for until it is late.
                    if let Ok(session) = opened {
                        let due = Instant::now() + self.settings.deadline;
                        return Some(State::serving(session, queue.abandon().batches, due));
                    }
                    true
                }
                () = &mut probation, if queue.is_reported() => {
                    self.is_over();
                    true
                }
                // Where nothing more comes, because the worker is gone, or sends to another node, what is under way is answered.
                gathered = queue.more_than(seen), if !is_leaving && !is_closed => {
                    seen = gathered.checks;
                    turns += 1;
                    let is_lone = gathered.checks == 1 && gathered.is_idle;
                    !is_lone && !queue.is_closed() && turns <= TURNS && gathered.age < LONGEST_TURNS
                }
                // Nothing has come in this turn.
                () = yield_now(), if checks > 0 && !is_leaving => false,
            };
            if !may_grow && !is_leaving {
                queue.send();
            }
            if queue.gathered().checks == 0 {
                (seen, turns) = (0, 0);
            }
        }
    }

    /// What follows when a connection ends.
    fn end(&mut self, failure: Failure, has_answered: bool) -> State {
        // The connection may be the only thing that is wrong: what was sent on it gets another, within its time. One that
        // ends while nothing is under way was idle for too long, or ended by an administrator.
        if failure.is_disconnect() && self.recovery.may_replace(has_answered) {
            let Left { batches, is_lost } = self.queue.abandon();
            match batches.is_empty() {
                _ if is_lost => {}
                true => return State::Idle,
                false => return State::Connecting(batches),
            }
        }
        self.fail(&failure)
    }

    /// Answers the checks of a batch that has come back; or fails with what the server says.
    fn land(&self, Received { batch, reply, read }: Received) -> Result<(), Failure> {
        match reply {
            Ok(reply) => {
                if let Some(clock) = self.queue.hear(reply.time, batch.sent, read) {
                    self.settings.clock.set(clock);
                }
                if let Some(again) = batch.answer(&reply, &self.settings, &self.cache, &self.queue.refusals)? {
                    self.queue.send_again(again);
                }
            }
            Err(error) => match self.target.redirect(&error) {
                Some(redirect) => {
                    // While a slot is moved, it is still where the map says.
                    if matches!(redirect, Redirect::Moved(_)) {
                        self.stale.notify_one();
                    }
                    batch.redirect(&redirect);
                }
                None if Blame::of(&error) == Blame::Check => {
                    let batches = batch.refused(&error, &self.queue.refusals, &self.settings.health);
                    batches.into_iter().for_each(|batch| self.queue.send_again(batch));
                }
                None => return Err(error.into()),
            },
        }
        Ok(())
    }
}

/// Waits for another connection, if there is one on its way.
async fn opening(another: &mut Option<Opening>) -> Result<Session, Failure> {
    match another {
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
