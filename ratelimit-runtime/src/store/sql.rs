//! Counters in an SQL database, under the public contract of stores.
//!
//! A thread of its own carries out the operations of a limiter, whatever runtimes the application has. Operations that arrive while all
//! connections are busy wait, and go into one transaction together: it locks their rows in the order of the keys, reads them, and writes what
//! follows.

mod additions;
mod batch;
mod database;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod options;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod placeholders;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
pub(crate) mod settings;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod table;
mod work;
mod worker;

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    thread,
};

use tokio::{
    runtime,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::LocalSet,
};

use crate::store::{
    contract::{
        Store,
        error::StoreError,
        operation::{Applied, Operation},
    },
    sql::{
        batch::Job,
        database::Database,
        worker::{LONGEST_QUEUE, Message, Worker},
    },
};

/// A store in an SQL database.
pub(crate) struct SqlStore<D> {
    database: D,
    connections: usize,
    /// The way to the thread; `None` until the first operation.
    messages: Mutex<Option<mpsc::Sender<Message>>>,
}

impl<D: Database> SqlStore<D> {
    /// A store with up to so many connections. It connects nothing yet.
    pub(crate) fn new(database: D, connections: usize) -> Self {
        Self { database, connections, messages: Mutex::new(None) }
    }

    /// Hands a message to the thread, which is started if it does not run.
    fn send(&self, mut message: Message) -> Result<(), StoreError> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(messages) = &*messages {
            match messages.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    return Err(StoreError::of_store("too many checks wait for the database"));
                }
                Err(TrySendError::Closed(unsent)) => message = unsent,
            }
        }
        let (started, received) = mpsc::channel(LONGEST_QUEUE);
        let worker = Worker::new(self.database.clone(), self.connections);
        thread::Builder::new()
            .name("rate-limit-sql".to_owned())
            .spawn(move || match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => LocalSet::new().block_on(&runtime, worker.run(received)),
                Err(error) => log::error!("the thread of a rate limit store has no runtime: {error}"),
            })
            .map_err(StoreError::of_store)?;
        let sent = started.try_send(message);
        *messages = Some(started);
        sent.map_err(|_| ended())
    }
}

impl<D: Database> Store for SqlStore<D> {
    async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
        let (answer, result) = oneshot::channel();
        self.send(Message::Update(Job::new(operation, answer)))?;
        result.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        self.send(Message::Migrate(answer))?;
        result.await.unwrap_or_else(|_| Err(ended()))
    }

    fn name(&self) -> Cow<'static, str> {
        self.database.name().into()
    }
}

fn ended() -> StoreError {
    StoreError::of_store("the thread of the database has ended")
}
