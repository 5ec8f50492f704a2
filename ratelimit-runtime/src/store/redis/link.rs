//! A worker's connection to a server, and the task that owns it.
//!
//! The checks that arrive while the worker handles its other requests go out together, as one call of the script;
//! batches do not wait for each other. A batch has one deadline.
//!
//! To send one is dear: it wakes the server, which costs both sides many times what a check in it does. So a worker that
//! is busy looks once or twice more for requests before it sends those that it has; a lone request waits for nothing.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    select,
    sync::{Notify, mpsc::UnboundedReceiver, watch},
    task::yield_now,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Settings,
    batch::{Batch, Check, LARGEST_BATCH},
    known::Known,
    session::{Failure, Place, ServerClock, Session},
};

/// The pauses between attempts to connect, doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(640);

/// How many turns of the worker, each once around all of its connections, a batch may grow in after the first, and for how
/// long: where a turn takes longer, the next one would cost more than it saves.
const TURNS: usize = 2;
const LONGEST_TURNS: Duration = Duration::from_micros(500);

/// The task that owns a worker's connection.
pub(super) struct Link {
    pub(super) settings: Arc<Settings>,
    pub(super) place: Arc<Place>,
    pub(super) checks: UnboundedReceiver<Check>,
    /// Read by the worker: no check is sent here while it is set.
    pub(super) down: Arc<AtomicBool>,
    pub(super) known: Arc<Mutex<Known>>,
    /// Told when another node may have taken over.
    pub(super) stale: Arc<Notify>,
}

impl Link {
    /// Serves checks until the limiter or the worker is gone.
    pub(super) async fn run(mut self, mut limiter: watch::Receiver<()>) {
        let serve = async {
            let mut batches = Vec::new();
            while let Some(session) = self.connect(&mut batches).await {
                let Some(failure) = self.serve(session, &mut batches).await else { break };
                // A connection that was closed (idle for too long, or by an administrator) may be the only thing
                // that is wrong: what was sent on it gets another, within its time.
                let may_go_on = match failure {
                    Failure::FailedOver => true,
                    _ => failure.is_disconnect() && !batches.is_empty(),
                };
                if !may_go_on {
                    self.fail(&failure, &mut batches);
                }
            }
        };
        select! {
            () = serve => {}
            // The sender never sends: this is its end.
            _ = limiter.changed() => {}
        }
    }

    /// Opens a connection, however long it takes; `None` when the worker is gone.
    ///
    /// The checks that wait do so until the deadline of the first. Once it has passed, they and all that follow are
    /// not kept waiting.
    async fn connect(&mut self, batches: &mut Vec<Batch>) -> Option<Session> {
        let (settings, place) = (Arc::clone(&self.settings), Arc::clone(&self.place));
        let due = batches.iter().map(|batch| batch.due).min().unwrap_or_else(|| Instant::now() + settings.deadline);
        let mut pause = FIRST_PAUSE;
        while !self.checks.is_closed() {
            let had_failed = self.down.load(Relaxed);
            let mut attempt = pin!(Session::open(&settings, &place, had_failed));
            let in_time = if had_failed { None } else { timeout_at(due, &mut attempt).await.ok() };
            let result = match in_time {
                Some(result) => result,
                None => {
                    self.fail(&Failure::Late(settings.deadline), batches);
                    self.answer_none_until(attempt).await
                }
            };
            match result {
                Ok(session) => {
                    if let Some(denials) = &settings.denials {
                        denials.forget_all();
                    }
                    if self.down.swap(false, Relaxed) {
                        settings.health.recovered();
                    } else {
                        batches.extend(Batch::split(self.waiting(), due));
                    }
                    return Some(session);
                }
                Err(failure) => self.fail(&failure, batches),
            }
            // Spread, so that the workers of many servers do not all come back in the same moment.
            self.answer_none_until(sleep(pause.mul_f32(0.5 + fastrand::f32() / 2.0))).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        None
    }

    /// The checks that are in the queue.
    fn waiting(&mut self) -> Vec<Check> {
        std::iter::from_fn(|| self.checks.try_recv().ok()).collect()
    }

    /// Gives up what is under way, and lets the requests know, those that wait and those to come.
    fn fail(&mut self, failure: &Failure, batches: &mut Vec<Batch>) {
        // A connection that nobody has any more is nobody's failure.
        if !self.checks.is_closed() && !self.down.swap(true, Relaxed) {
            self.settings.health.failed(failure);
        }
        self.stale.notify_one();
        batches.clear();
        drop(self.waiting());
    }

    /// A check may have been sent in the moment in which the connection was given up.
    async fn answer_none_until<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            select! {
                output = &mut future => return output,
                Some(check) = self.checks.recv() => drop(check),
            }
        }
    }

    /// Sends checks, beginning with `batches`, and answers them, until something fails: what, with the batches that
    /// it leaves unanswered. `None` when the worker is gone.
    async fn serve(&mut self, mut session: Session, batches: &mut Vec<Batch>) -> Option<Failure> {
        let settings = Arc::clone(&self.settings);
        batches.drain(..).for_each(|batch| session.send(batch));
        let mut gathered = Vec::new();
        let (mut turns, mut since) = (0, Instant::now());
        let place = Arc::clone(&self.place);
        let mut leave = pin!(place.leave(session.address().clone()));
        let (mut is_leaving, mut is_closed) = (false, false);
        loop {
            if session.flights.is_empty() && (is_leaving || is_closed && gathered.is_empty()) {
                batches.extend(Batch::split(gathered, since + settings.deadline));
                return is_leaving.then_some(Failure::FailedOver);
            }
            let may_grow = select! {
                biased;
                Some(landed) = session.flights.next() => {
                    let (batch, result) = match landed {
                        Ok(landed) => landed,
                        Err(failure) => {
                            // If it is late, so is all that is under way.
                            if failure.is_disconnect() {
                                batches.extend(session.flights.unanswered().filter_map(Batch::again_elsewhere));
                                batches.extend(Batch::split(gathered, since + settings.deadline));
                            }
                            return Some(failure);
                        }
                    };
                    match result {
                        Ok(reply) => {
                            session.clock = ServerClock::new(reply.time);
                            *settings.clock.lock() = Some(session.clock);
                            if let Some(again) = batch.answer(&reply, &settings, &self.known) {
                                session.send(again);
                            }
                        }
                        Err(error) => match self.place.redirect(&error) {
                            Some(redirect) => {
                                self.stale.notify_one();
                                batch.redirect(&redirect);
                            }
                            // Of a server that is alone, it is a failure like any other.
                            None => return Some(Failure::Redis(error)),
                        },
                    }
                    since.elapsed() < LONGEST_TURNS
                }
                // What is under way is answered; what comes waits for the other server.
                () = &mut leave, if !is_leaving && !is_closed => {
                    is_leaving = true;
                    true
                }
                count = self.checks.recv_many(&mut gathered, LARGEST_BATCH), if !is_leaving && !is_closed => {
                    // The worker is gone, or sends to another node; what is under way is answered.
                    is_closed = count == 0;
                    if turns == 0 {
                        since = Instant::now();
                    }
                    turns += 1;
                    let is_lone = gathered.len() == 1 && session.flights.is_empty();
                    let is_full = gathered.len() >= LARGEST_BATCH;
                    !is_lone && !is_full && !is_closed && turns <= TURNS && since.elapsed() < LONGEST_TURNS
                }
                // Nothing has come in this turn.
                () = yield_now(), if !gathered.is_empty() && !is_leaving => false,
            };
            if may_grow || is_leaving || gathered.is_empty() {
                continue;
            }
            turns = 0;
            for batch in Batch::split(std::mem::take(&mut gathered), since + settings.deadline) {
                session.send(batch);
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.down.swap(true, Relaxed) {
            self.settings.health.abandoned();
        }
    }
}
