//! One batch on one connection: a statement that adds, or a transaction.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout_at};

use crate::store::{
    contract::error::StoreError,
    new_place,
    server_clock::SharedClock,
    sql::{
        additions,
        batch::{self, Job},
        database::{Database, Failure},
    },
};

/// How long a batch may outlast the deadline of its operations. Then its connection is closed, by which the database takes it back.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections may be lost under an operation before it fails. After a restart of the server, the first one is.
const TOLERATED_LOSSES: u32 = 2;

/// The pauses before a batch is tried again after a conflict.
const SHORTEST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A connection with its database.
pub(super) struct Work<D: Database> {
    pub(super) database: D,
    pub(super) clock: Rc<SharedClock>,
    pub(super) connection: D::Connection,
    /// A transaction has begun and has not ended.
    pub(super) is_in_transaction: bool,
}

/// The end of a batch.
pub(super) struct Done<C> {
    pub(super) keys: Vec<String>,
    /// The connection, if it is of use.
    pub(super) connection: Option<C>,
    /// Operations that have written nothing, to be tried again.
    pub(super) again: Vec<Job>,
}

impl<D: Database> Work<D> {
    /// Carries out the operations of a batch.
    pub(super) async fn carry_out(mut self, keys: Vec<String>, mut jobs: Vec<Job>) -> Done<D::Connection> {
        let deadline = jobs.iter().map(|job| job.operation().deadline()).max().unwrap_or_else(Instant::now);
        let mut again = Vec::new();
        let done = async {
            let mut pause = SHORTEST_PAUSE;
            loop {
                let failure = match self.try_once(&keys, &mut jobs, &mut again, deadline).await {
                    Ok(()) => return true,
                    Err(failure) => failure,
                };
                if matches!(failure, Failure::Conflict(_)) && Instant::now() + pause < deadline {
                    if self.roll_back().await.is_err() {
                        return false;
                    }
                    sleep(pause + pause.mul_f64(new_place() as f64 / u64::MAX as f64)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                } else {
                    return self.give_up(&failure, &mut jobs, &mut again).await;
                }
            }
        };
        let is_of_use = timeout_at((deadline + GRACE).into(), done).await.unwrap_or(false);
        Done { keys, connection: is_of_use.then_some(self.connection), again }
    }

    /// Answers the operations of a batch that failed, or has them tried again. Returns whether the connection is of use.
    async fn give_up(&mut self, failure: &Failure, jobs: &mut Vec<Job>, again: &mut Vec<Job>) -> bool {
        match failure {
            // One of the counters must not fail the others.
            Failure::Value(_) | Failure::Locked if jobs.len() > 1 => again.extend(jobs.drain(..).map(Job::alone)),
            Failure::Conflict(_) | Failure::Locked | Failure::Value(_) => {
                batch::fail(jobs.drain(..), &StoreError::of_check(failure.reason()));
            }
            Failure::Lost(_) => {
                for mut job in jobs.drain(..) {
                    job.losses += 1;
                    if job.losses <= TOLERATED_LOSSES {
                        again.push(job);
                    } else {
                        job.answer(Err(StoreError::of_store(failure.reason())));
                    }
                }
                return false;
            }
            Failure::Refused(_) => {
                batch::fail(jobs.drain(..), &StoreError::of_store(failure.reason()));
                return false;
            }
        }
        self.roll_back().await.is_ok()
    }

    async fn roll_back(&mut self) -> Result<(), Failure> {
        match std::mem::take(&mut self.is_in_transaction) {
            true => self.database.roll_back(&mut self.connection).await,
            false => Ok(()),
        }
    }

    async fn try_once(
        &mut self,
        keys: &[String],
        jobs: &mut Vec<Job>,
        again: &mut Vec<Job>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        // A check that was answered without its result must not count.
        jobs.retain(|job| !job.is_late());
        let now = self.clock.get().map(|clock| clock.at(Instant::now()));
        match (jobs.first(), now) {
            (None, _) => Ok(()),
            (Some(first), Some(now)) if first.is_addition => self.add(jobs, again, now).await,
            _ => self.transact(keys, jobs, deadline).await,
        }
    }

    /// Adds requests to their counters in one statement.
    async fn add(&mut self, jobs: &mut Vec<Job>, again: &mut Vec<Job>, now: Duration) -> Result<(), Failure> {
        let (summed, additions, others) = additions::sum_up(std::mem::take(jobs), now);
        *jobs = summed;
        again.extend(others);
        let sent = Instant::now();
        // After a lost connection, the statement is sent again and may add twice. The limit may then refuse too early, but never too late.
        let added = self.database.add(&mut self.connection, &additions).await?;
        self.observe(added.now, sent);
        again.extend(additions::answer(std::mem::take(jobs), &additions, added));
        Ok(())
    }

    /// Carries out operations in one transaction.
    async fn transact(&mut self, keys: &[String], jobs: &mut Vec<Job>, deadline: Instant) -> Result<(), Failure> {
        let sent = Instant::now();
        // The database gives up before the limiter does, so that the log shows the reason.
        let patience = deadline.saturating_duration_since(sent) * 3 / 4;
        let patience = patience.max(Duration::from_millis(1));
        self.is_in_transaction = true;
        let locked = self.database.lock(&mut self.connection, keys, patience).await?;
        self.observe(locked.now, sent);
        let (results, rows) = batch::apply(jobs, locked);
        if rows.is_empty() {
            // Nothing changes, so the results hold already.
            batch::answer(std::mem::take(jobs), results);
            return self.roll_back().await;
        }
        match self.database.commit(&mut self.connection, &rows).await {
            Ok(()) => {
                self.is_in_transaction = false;
                batch::answer(std::mem::take(jobs), results);
                Ok(())
            }
            // The operations were not carried out, and may be tried again.
            Err(failure @ (Failure::Conflict(_) | Failure::Value(_))) => Err(failure),
            // Nobody knows whether the database has committed.
            Err(failure) => {
                batch::fail(jobs.drain(..), &StoreError::of_store(failure.reason()));
                Err(failure)
            }
        }
    }

    fn observe(&self, now: Duration, sent: Instant) {
        if !now.is_zero() {
            self.clock.observe(now, sent, Instant::now());
        }
    }
}
