//! The thread of a store: which operations go into which transaction, and on which connection.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{self, timeout},
};

use crate::store::{
    contract::error::StoreError,
    episode::Episode,
    new_place,
    printable::Printable,
    server_clock::SharedClock,
    sql::{
        batch::{self, Job},
        database::{Database, Failure},
        work::{Done, Work},
    },
};

/// How many operations may wait. More of them fail at once, so that memory is bounded.
pub(super) const LONGEST_QUEUE: usize = 16_384;

/// How many operations one transaction carries out.
const LARGEST_BATCH: usize = 256;

/// How long opening a connection may take.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// The pause before another connection is tried, while others serve.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How long creating the table may take.
const LONGEST_MIGRATION: Duration = Duration::from_secs(30);

/// How many expired rows are deleted in one step, and the pause after a step that found fewer.
const EXPIRED_ROWS: u32 = 500;
const EXPIRY_PAUSE: Duration = Duration::from_secs(5);
const SHORTEST_EXPIRY_PAUSE: Duration = Duration::from_millis(20);

/// A request to the thread.
pub(super) enum Message {
    Update(Job),
    Migrate(oneshot::Sender<Result<(), StoreError>>),
}

pub(super) struct Worker<D: Database> {
    database: D,
    connections: usize,
}

/// The state of the thread.
struct State<D: Database> {
    database: D,
    /// How many connections there may be.
    connections: usize,
    /// How many there are.
    open: usize,
    idle: Vec<D::Connection>,
    is_connecting: bool,
    /// When a further connection is tried, after one could not be opened.
    next_connect: Instant,
    waiting: VecDeque<Job>,
    /// The keys of the transactions that are under way. Another transaction would wait for their locks.
    busy: HashSet<String>,
    tasks: JoinSet<Event<D::Connection>>,
    /// The database's clock.
    clock: Rc<SharedClock>,
    /// When expired rows are looked for again.
    next_expiry: time::Instant,
    /// The log's messages about expired rows.
    expiry: Episode,
}

/// The end of a task.
enum Event<C> {
    Connected(Result<C, Failure>),
    Done(Done<C>),
    Expired { connection: Option<C>, pause: Duration, failure: Option<Failure> },
    Migrated,
}

impl<D: Database> Worker<D> {
    pub(super) fn new(database: D, connections: usize) -> Self {
        Self { database, connections }
    }

    /// Carries out operations until the store is dropped.
    pub(super) async fn run(self, mut messages: mpsc::Receiver<Message>) {
        let mut state = State::new(self);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => state.take(message),
                    None => break,
                },
                Some(ended) = state.tasks.join_next() => match ended {
                    Ok(event) => state.end(event),
                    // A task that panics has lost count of its keys: the next operation starts the thread anew.
                    Err(_) => return,
                },
                () = time::sleep_until(state.next_expiry), if !state.idle.is_empty() => state.expire(),
            }
            while let Ok(message) = messages.try_recv() {
                state.take(message);
            }
            state.start();
        }
        // The last operations are those of limiters that are gone. They end all the same.
        while state.tasks.join_next().await.is_some() {}
    }
}

impl<D: Database> State<D> {
    fn new(Worker { database, connections }: Worker<D>) -> Self {
        Self {
            database,
            connections,
            open: 0,
            idle: Vec::new(),
            is_connecting: false,
            next_connect: Instant::now(),
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            tasks: JoinSet::new(),
            clock: Rc::default(),
            next_expiry: time::Instant::now() + pause_of_expiry(),
            expiry: Episode::default(),
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Update(job) if self.waiting.len() >= LONGEST_QUEUE => {
                batch::fail([job], &StoreError::of_store("too many checks wait for the database"));
            }
            Message::Update(job) if self.database.adds() => self.waiting.push_back(job),
            Message::Update(job) => self.waiting.push_back(job.for_transaction()),
            Message::Migrate(answer) => {
                let database = self.database.clone();
                self.tasks.spawn_local(async move {
                    // Nobody may wait any more.
                    let _ = answer.send(migrate(&database).await);
                    Event::Migrated
                });
            }
        }
    }

    fn end(&mut self, event: Event<D::Connection>) {
        match event {
            Event::Connected(connected) => {
                self.is_connecting = false;
                match connected {
                    Ok(connection) => {
                        self.open += 1;
                        self.idle.push(connection);
                    }
                    Err(failure) if self.open == 0 => {
                        batch::fail(self.waiting.drain(..), &StoreError::of_store(failure.reason()));
                    }
                    // The server has no more connections for us, and those that there are serve.
                    Err(_) => self.next_connect = Instant::now() + CONNECT_PAUSE,
                }
            }
            Event::Done(Done { keys, connection, again }) => {
                for key in keys {
                    self.busy.remove(&key);
                }
                again.into_iter().rev().for_each(|job| self.waiting.push_front(job));
                self.give_back(connection);
            }
            Event::Expired { connection, pause, failure } => {
                self.next_expiry = time::Instant::now() + pause;
                self.report_expiry(failure.as_ref());
                self.give_back(connection);
            }
            Event::Migrated => {}
        }
    }

    fn give_back(&mut self, connection: Option<D::Connection>) {
        match connection {
            Some(connection) => self.idle.push(connection),
            // The others were opened before, and to the same server.
            None => {
                self.open -= 1 + self.idle.len();
                self.idle.clear();
            }
        }
    }

    /// Starts as many transactions as there are connections for.
    fn start(&mut self) {
        self.waiting.retain(|job| !job.is_late());
        // Also where requests leave no connection idle.
        if time::Instant::now() >= self.next_expiry {
            self.expire();
        }
        while !self.waiting.is_empty() {
            let Some(connection) = self.idle.pop() else { return self.connect() };
            let jobs = self.next_batch();
            if jobs.is_empty() {
                self.idle.push(connection);
                return;
            }
            let keys = batch::keys(&jobs);
            self.busy.extend(keys.iter().cloned());
            let (database, clock) = (self.database.clone(), Rc::clone(&self.clock));
            self.tasks.spawn_local(async move {
                Event::Done(Work { database, clock, connection, is_in_transaction: false }.carry_out(keys, jobs).await)
            });
        }
    }

    /// Takes operations whose counters no transaction has. An operation that has to wait reserves its counters, so that later ones do not
    /// overtake it for ever.
    fn next_batch(&mut self) -> Vec<Job> {
        let (mut jobs, mut reserved): (Vec<Job>, HashSet<String>) = (Vec::new(), HashSet::new());
        for _ in 0..self.waiting.len() {
            let Some(job) = self.waiting.pop_front() else { break };
            let is_alike = jobs.last().is_none_or(|last| {
                !job.is_alone && !last.is_alone && job.is_addition == last.is_addition && jobs.len() < LARGEST_BATCH
            });
            if is_alike && !job.operation().keys().any(|key| self.busy.contains(key) || reserved.contains(key)) {
                jobs.push(job);
                continue;
            }
            for key in job.operation().keys() {
                if !reserved.contains(key) {
                    reserved.insert(key.to_owned());
                }
            }
            self.waiting.push_back(job);
        }
        jobs
    }

    fn connect(&mut self) {
        let is_too_early = self.open > 0 && Instant::now() < self.next_connect;
        if self.is_connecting || self.open >= self.connections || is_too_early {
            return;
        }
        self.is_connecting = true;
        let database = self.database.clone();
        self.tasks.spawn_local(async move { Event::Connected(connect(&database).await) });
    }

    /// Starts to delete expired rows.
    fn expire(&mut self) {
        let Some(mut connection) = self.idle.pop() else { return };
        // Until this step ends, no other begins.
        self.next_expiry = time::Instant::now() + 2 * LONGEST_CONNECT;
        let database = self.database.clone();
        self.tasks.spawn_local(async move {
            let started = Instant::now();
            let late = || Failure::Lost(format!("it takes longer than {LONGEST_CONNECT:?}"));
            let deleted = timeout(LONGEST_CONNECT, database.delete_expired(&mut connection, EXPIRED_ROWS)).await;
            match deleted.unwrap_or_else(|_| Err(late())) {
                Ok(deleted) => {
                    let pause = match deleted < EXPIRED_ROWS.into() {
                        true => pause_of_expiry(),
                        // As long as the step, so that requests have the database for themselves half of the time.
                        false => started.elapsed().max(SHORTEST_EXPIRY_PAUSE),
                    };
                    Event::Expired { connection: Some(connection), pause, failure: None }
                }
                // What it has begun ends with its connection.
                Err(failure) => Event::Expired { connection: None, pause: pause_of_expiry(), failure: Some(failure) },
            }
        });
    }

    /// Reports that expired rows are not deleted.
    fn report_expiry(&mut self, failure: Option<&Failure>) {
        let name = self.database.name();
        let name = Printable(&name);
        match failure {
            None => self
                .expiry
                .end(|lasted| log::warn!("rate limit store {name} deletes expired rows again after {lasted:.1?}")),
            Some(failure) => self.expiry.fail(Instant::now(), |_| {
                let reason = Printable(failure.reason());
                log::warn!("rate limit store {name} does not delete expired rows, and grows: {reason} (RL028)");
            }),
        }
    }
}

/// A time at random, so that not all processes look for expired rows at the same time.
fn pause_of_expiry() -> Duration {
    EXPIRY_PAUSE / 2 + EXPIRY_PAUSE.mul_f64(new_place() as f64 / u64::MAX as f64)
}

async fn connect<D: Database>(database: &D) -> Result<D::Connection, Failure> {
    let late = || Failure::Lost(format!("the database accepts no connection within {LONGEST_CONNECT:?}"));
    timeout(LONGEST_CONNECT, database.connect()).await.unwrap_or_else(|_| Err(late()))
}

async fn migrate<D: Database>(database: &D) -> Result<(), StoreError> {
    let failed = |failure: Failure| StoreError::of_store(failure.reason());
    let mut connection = connect(database).await.map_err(failed)?;
    let late = || Failure::Lost(format!("the table is not created within {LONGEST_MIGRATION:?}; what locks it?"));
    let migrated = timeout(LONGEST_MIGRATION, database.migrate(&mut connection)).await;
    migrated.unwrap_or_else(|_| Err(late())).map_err(failed)
}

#[cfg(test)]
mod tests;
