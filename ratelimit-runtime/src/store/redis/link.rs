//! A worker's connection to a server, and the task that owns it.
//!
//! The checks that arrive while the worker handles its other requests go out together, as one call of the script;
//! batches do not wait for each other. A batch has one deadline.
//!
//! To send one is dear: it wakes the server, which costs both sides many times what a check in it does. So a worker that
//! is busy looks once or twice more for requests before it sends those that it has; a lone request waits for nothing.

use std::{pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    select,
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Settings,
    batch::Batch,
    flights::Landed,
    known::Known,
    lane::{Gathered, Lane},
    session::{Failure, Place, Session},
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
    pub(super) lane: Arc<Lane>,
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
                let may_go_on = match failure {
                    Failure::FailedOver => true,
                    Failure::Ended => {
                        // Idle for too long, or by an administrator: the next check gets another.
                        if batches.is_empty() {
                            self.lane.more_than(0).await;
                        }
                        true
                    }
                    // The connection may be the only thing that is wrong: what was sent on it gets another, within its time.
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
        while !self.lane.is_closed() {
            let had_failed = self.lane.is_down();
            let mut attempt = pin!(Session::open(&settings, &place, had_failed));
            let in_time = if had_failed { None } else { timeout_at(due, &mut attempt).await.ok() };
            let result = match in_time {
                Some(result) => result,
                None => {
                    self.fail(&Failure::Late(settings.deadline), batches);
                    attempt.await
                }
            };
            match result {
                Ok(session) => {
                    if let Some(denials) = &settings.denials {
                        denials.forget_all();
                    }
                    if self.lane.set_down(false) {
                        settings.health.recovered();
                    }
                    return Some(session);
                }
                Err(failure) => self.fail(&failure, batches),
            }
            // Spread, so that the workers of many servers do not all come back in the same moment.
            sleep(pause.mul_f32(0.5 + fastrand::f32() / 2.0)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        None
    }

    /// Gives up what is under way, and lets the requests know, those that wait and those to come.
    fn fail(&mut self, failure: &Failure, batches: &mut Vec<Batch>) {
        // A connection that nobody has any more is nobody's failure.
        if !self.lane.is_closed() && !self.lane.set_down(true) {
            self.settings.health.failed(failure);
        }
        self.stale.notify_one();
        batches.clear();
        self.lane.clear();
    }

    /// Sends checks, beginning with `batches`, and answers them, until something fails: what, with the batches that
    /// it leaves unanswered. `None` when the worker is gone.
    async fn serve(&mut self, session: Session, batches: &mut Vec<Batch>) -> Option<Failure> {
        let (lane, place) = (Arc::clone(&self.lane), Arc::clone(&self.place));
        let mut leave = pin!(place.leave(session.address().clone()));
        let mut is_leaving = false;
        lane.open(session, batches.drain(..));
        // How many checks had gathered in the last turn, and for how many turns they have.
        let (mut seen, mut turns) = (0, 0);
        loop {
            // Looked at first: what was pushed before the lane was closed is among the checks then.
            let is_closed = lane.is_closed();
            let Gathered { checks, is_idle, .. } = lane.gathered();
            // A worker on another thread may have sent them itself.
            seen = seen.min(checks);
            if is_idle && is_leaving {
                *batches = lane.abandon();
                return Some(Failure::FailedOver);
            }
            if is_idle && is_closed && checks == 0 {
                return None;
            }
            let may_grow = select! {
                biased;
                landed = lane.next() => {
                    if let Err(failure) = landed.and_then(|landed| self.land(landed)) {
                        // If it is late, so is all that is under way.
                        if failure.is_disconnect() {
                            *batches = lane.abandon();
                        }
                        return Some(failure);
                    }
                    lane.gathered().age < LONGEST_TURNS
                }
                // What is under way is answered; what comes waits for the other server.
                () = &mut leave, if !is_leaving && !is_closed => {
                    is_leaving = true;
                    lane.leave();
                    true
                }
                // Where nothing more comes, because the worker is gone, or sends to another node, what is under way is answered.
                gathered = lane.more_than(seen), if !is_leaving && !is_closed => {
                    seen = gathered.checks;
                    turns += 1;
                    let is_lone = gathered.checks == 1 && gathered.is_idle;
                    !is_lone && !lane.is_closed() && turns <= TURNS && gathered.age < LONGEST_TURNS
                }
                // Nothing has come in this turn.
                () = yield_now(), if checks > 0 && !is_leaving => false,
            };
            if !may_grow && !is_leaving {
                lane.send();
            }
            if lane.gathered().checks == 0 {
                (seen, turns) = (0, 0);
            }
        }
    }

    /// Answers the checks of a batch that has come back; or fails with what the server says.
    fn land(&self, (batch, reply): Landed) -> Result<(), Failure> {
        match reply {
            Ok(reply) => {
                if let Some(clock) = self.lane.hear(reply.time, batch.sent) {
                    self.settings.clock.set(clock);
                }
                if let Some(again) = batch.answer(&reply, &self.settings, &self.known) {
                    self.lane.send_again(again);
                }
            }
            Err(error) => {
                // Of a server that is alone, it is a failure like any other.
                let redirect = self.place.redirect(&error).ok_or(error)?;
                self.stale.notify_one();
                batch.redirect(&redirect);
            }
        }
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.lane.close();
        self.lane.clear();
        if self.lane.set_down(true) {
            self.settings.health.abandoned();
        }
    }
}
