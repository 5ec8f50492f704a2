//! Counters in Memcached 1.6 or later, under the public contract of stores, by its meta commands.
//!
//! A fixed window is a number. Where a request has no other rule, one command adds to it, and creates it together with its expiry. All other
//! operations read the counters and write them by compare and swap.
//!
//! Several counters are written one after the other. If one of them has changed meanwhile, the tokens of those before it are refunded, and
//! the operation begins again. A limit is never exceeded. For a moment, other requests may be refused.

mod clock;
mod connection;
mod protocol;
mod url;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    runtime::{self, Handle},
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard},
    time::sleep,
};

use crate::{
    counter::key_part::digest,
    error::Error,
    store::{
        contract::{
            Store,
            error::StoreError,
            operation::{Applied, Increment, Operation},
            value::Value,
        },
        memcached::{
            connection::{Connection, Lost, Server},
            protocol::{Commands, LATEST_EXPIRY, Reply},
        },
    },
};

/// The longest key that Memcached takes.
const LONGEST_KEY: usize = 250;

/// The number of locks behind which the operations of a process on one counter wait for each other. So compare and swap seldom fails.
const TURNS: usize = 1024;

/// The time after its deadline in which an operation still takes back its writes.
const LONGEST_REFUND: Duration = Duration::from_secs(1);

/// The longest pause before an operation is repeated.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// A store in one Memcached or several.
pub(crate) struct MemcachedStore(Arc<Shared>);

struct Shared {
    servers: Vec<Arc<Server>>,
    /// The keys are the runtime of a connection and the index of its server.
    connections: Mutex<HashMap<(runtime::Id, usize), Connection>>,
    turns: Vec<AsyncMutex<()>>,
}

/// A counter as it was read.
struct Found {
    key: String,
    server: usize,
    value: Option<Value>,
    cas: Option<u64>,
}

/// The reason why an operation is not done.
enum Undone {
    /// A counter has changed since it was read.
    Conflict,
    Failed(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl MemcachedStore {
    /// Reads what follows `memcached://`. It connects nothing yet.
    pub(crate) fn new(rest: &str) -> Result<Self, Error> {
        let servers = url::servers(rest)?.into_iter().map(|address| Arc::new(Server::new(address))).collect();
        let turns = (0..TURNS).map(|_| AsyncMutex::new(())).collect();
        Ok(Self(Arc::new(Shared { servers, connections: Mutex::default(), turns })))
    }
}

impl Store for MemcachedStore {
    async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
        let shared = Arc::clone(&self.0);
        // The task outlives the deadline, so that writes of an operation that fails are taken back.
        let updated = tokio::spawn(async move { shared.update(&operation).await }).await;
        updated.unwrap_or_else(|error| Err(StoreError::of_store(error)))
    }

    fn name(&self) -> Cow<'static, str> {
        let addresses: Vec<&str> = self.0.servers.iter().map(|server| server.address.as_str()).collect();
        format!("memcached://{}", addresses.join(",")).into()
    }
}

impl Shared {
    async fn update(&self, operation: &Operation) -> Result<Applied, StoreError> {
        let first = self.server_of(operation.keys().next().unwrap_or_default());
        let mut now = self.now(first).await?;
        if now.as_secs() >= LATEST_EXPIRY {
            return Err(StoreError::of_store("Memcached keeps times until the year 2038"));
        }
        // An addition of one token that does not fit delays nobody, since the window is full. A larger one could refuse requests that fit.
        if let Some(increment) = operation.increment(now).filter(|increment| increment.tokens == 1) {
            return self.increment(operation, increment, first, now).await;
        }
        let _turns = self.turns(operation).await;
        let mut pause = Duration::from_micros(200);
        loop {
            match self.try_once(operation, now).await {
                Ok(applied) => return Ok(applied),
                Err(Undone::Failed(error)) => return Err(error),
                Err(Undone::Conflict) => {}
            }
            if operation.deadline() <= std::time::Instant::now() {
                return Err(StoreError::of_check("other processes change the counter all the time"));
            }
            // The pauses of two processes differ, so that they do not collide again.
            sleep(pause + Duration::from_nanos(now.subsec_nanos().into()) / 1000).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            now = self.now(first).await?;
        }
    }

    /// The time by a server's clock.
    async fn now(&self, server: usize) -> Result<Duration, StoreError> {
        if let Some(now) = self.servers.get(server).and_then(|server| server.now()) {
            return Ok(now);
        }
        // Any command will do: a connection reads the clock before its first one.
        let mut commands = Commands::default();
        commands.time();
        self.send(server, commands).await?;
        let read = self.servers.get(server).and_then(|server| server.now());
        read.ok_or_else(|| StoreError::of_store("the server does not tell its time"))
    }

    /// Adds a token to a window, and takes it back if it does not fit.
    async fn increment(
        &self,
        operation: &Operation,
        increment: Increment,
        server: usize,
        now: Duration,
    ) -> Result<Applied, StoreError> {
        let Increment { window_end, tokens, limit, .. } = increment;
        let key = window_key(operation.keys().next().unwrap_or_default(), window_end);
        let mut commands = Commands::default();
        commands.add(&key, tokens, window_end + 1);
        let used = match self.one(server, commands).await? {
            // Memcached adds 1 to its largest number and gets 0.
            Reply::Value { data, .. } => {
                let used = number(&data).filter(|used| (1..=u32::MAX.into()).contains(used));
                used.ok_or_else(|| foreign(&key))?
            }
            reply => return Err(refused(&key, &reply)),
        };
        let before = used.saturating_sub(tokens);
        if used > limit.into() {
            let mut commands = Commands::default();
            commands.subtract(&key, tokens);
            self.one(server, commands).await?;
        }
        operation.apply(now, &[Some(Value::window(window_end, u32::try_from(before).unwrap_or(u32::MAX)))])
    }

    /// Reads the counters, computes, and writes.
    async fn try_once(&self, operation: &Operation, now: Duration) -> Result<Applied, Undone> {
        let found = self.read(operation, now).await?;
        let held: Vec<Option<Value>> = found.iter().map(|found| found.value.clone()).collect();
        let applied = operation.apply(now, &held)?;
        for (done, write) in applied.writes().iter().enumerate() {
            let Some(Found { key, server, cas, .. }) = found.get(write.index()) else { continue };
            let mut commands = Commands::default();
            match (write.value(), cas) {
                (Some(value), cas) => {
                    let text =
                        value.as_window().map_or_else(|| value.as_str().to_owned(), |(_, used)| used.to_string());
                    commands.set(key, &text, *cas, write.expires_at() + 1);
                }
                (None, Some(cas)) => commands.delete(key, *cas),
                (None, None) => continue,
            }
            let undone = match self.one(*server, commands).await {
                Ok(Reply::Done { .. }) => continue,
                Ok(Reply::Missing | Reply::Conflict) => Undone::Conflict,
                Ok(reply) => refused(key, &reply).into(),
                Err(error) => error.into(),
            };
            for write in applied.writes().iter().take(done) {
                self.take_back(operation, &applied, write.index(), now).await?;
            }
            return Err(undone);
        }
        Ok(applied)
    }

    /// Refunds what an operation took from one of its counters.
    async fn take_back(
        &self,
        operation: &Operation,
        applied: &Applied,
        index: usize,
        now: Duration,
    ) -> Result<(), StoreError> {
        let Some(refund) = operation.refund(applied, index) else { return Ok(()) };
        loop {
            match Box::pin(self.try_once(&refund, now)).await {
                Ok(_) => return Ok(()),
                Err(Undone::Failed(error)) => return Err(error),
                Err(Undone::Conflict) if operation.deadline().elapsed() > LONGEST_REFUND => {
                    return Err(StoreError::of_check("other processes change the counter all the time"));
                }
                Err(Undone::Conflict) => sleep(Duration::from_micros(200)).await,
            }
        }
    }

    /// Reads the counters of an operation, from one server after the other.
    async fn read(&self, operation: &Operation, now: Duration) -> Result<Vec<Found>, StoreError> {
        let windows: Vec<Option<u64>> =
            operation.keys().enumerate().map(|(index, _)| operation.window_end(index, now)).collect();
        let mut found: Vec<Found> = operation
            .keys()
            .zip(&windows)
            .map(|(key, window)| {
                let server = self.server_of(key);
                let key = window.map_or_else(|| key.to_owned(), |end| window_key(key, end));
                Found { key, server, value: None, cas: None }
            })
            .collect();
        for server in 0..self.servers.len() {
            let mut commands = Commands::default();
            let of_server = || found.iter().enumerate().filter(|(_, found)| found.server == server);
            of_server().for_each(|(_, found)| commands.get(&found.key));
            let indices: Vec<usize> = of_server().map(|(index, _)| index).collect();
            if indices.is_empty() {
                continue;
            }
            let replies = self.send(server, commands).await?;
            for (index, reply) in indices.into_iter().zip(replies) {
                let Some(counter) = found.get_mut(index) else { continue };
                match reply {
                    Reply::Value { data, cas } => {
                        let window = windows.get(index).copied().flatten();
                        counter.value = Some(value_of(&data, window));
                        counter.cas = Some(cas);
                    }
                    Reply::Missing => {}
                    reply => return Err(refused(&counter.key, &reply)),
                }
            }
        }
        Ok(found)
    }

    /// Waits for this process's turn on the counters. Locks are taken in ascending order, so that no two operations wait for each other.
    async fn turns(&self, operation: &Operation) -> Vec<AsyncGuard<'_, ()>> {
        let mut turns: Vec<usize> = operation.keys().map(|key| weight("", key) as usize % TURNS).collect();
        turns.sort_unstable();
        turns.dedup();
        let mut guards = Vec::with_capacity(turns.len());
        for turn in turns {
            if let Some(turn) = self.turns.get(turn) {
                guards.push(turn.lock().await);
            }
        }
        guards
    }

    /// The server of a key, by rendezvous hashing: a server that is added takes its share from all others.
    fn server_of(&self, key: &str) -> usize {
        if self.servers.len() == 1 {
            return 0;
        }
        let weights = self.servers.iter().map(|server| weight(&server.address, key));
        weights.enumerate().max_by_key(|(_, weight)| *weight).map_or(0, |(index, _)| index)
    }

    async fn one(&self, server: usize, commands: Commands) -> Result<Reply, StoreError> {
        let reply = self.send(server, commands).await?.into_iter().next();
        reply.ok_or_else(|| StoreError::of_store("a reply is missing"))
    }

    async fn send(&self, server: usize, commands: Commands) -> Result<Vec<Reply>, StoreError> {
        let connection = self.connection(server)?;
        // The failure of one of several servers concerns its own keys.
        let failed =
            |lost: Lost| if self.servers.len() > 1 { StoreError::of_check(lost) } else { StoreError::of_store(lost) };
        connection.send(commands).await.map_err(failed)
    }

    fn connection(&self, server: usize) -> Result<Connection, StoreError> {
        let runtime = Handle::try_current().map_err(StoreError::of_store)?.id();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(&(runtime, server)).filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        // Those of runtimes that have ended are removed here.
        connections.retain(|_, connection| !connection.is_closed());
        let known = self.servers.get(server).ok_or_else(|| StoreError::of_store("there is no server"))?;
        let connection = Connection::start(Arc::clone(known));
        connections.insert((runtime, server), connection.clone());
        Ok(connection)
    }
}

/// The value of a counter from the bytes of its item. A fixed window is a number.
fn value_of(data: &[u8], window: Option<u64>) -> Value {
    match (window, number(data)) {
        (Some(end), Some(used)) => Value::window(end, u32::try_from(used).unwrap_or(u32::MAX)),
        // A text that is no number comes from another program.
        (Some(_), None) => Value::from_bytes(b"no number"),
        (None, _) => Value::from_bytes(data),
    }
}

/// Memcached leaves blanks behind a number that has become shorter.
fn number(data: &[u8]) -> Option<u64> {
    str::from_utf8(data).ok()?.trim_end_matches(' ').parse().ok()
}

/// The key of a fixed window, which has its own in each window.
fn window_key(key: &str, window_end: u64) -> String {
    let name = format!("{key}/{window_end}");
    if name.len() <= LONGEST_KEY {
        return name;
    }
    format!("{}/{window_end}", digest(key.as_bytes()))
}

/// The weight of a key on a server, the same in all processes.
fn weight(server: &str, key: &str) -> u64 {
    let digest = Sha256::new().chain_update(server).chain_update([0]).chain_update(key).finalize();
    digest.iter().take(8).fold(0, |weight, byte| weight << 8 | u64::from(*byte))
}

fn foreign(key: &str) -> StoreError {
    StoreError::foreign_value(key)
}

/// The error of a command that the server refuses: out of memory, or a value of another program.
fn refused(key: &str, reply: &Reply) -> StoreError {
    match reply {
        Reply::Refused(text) if text.contains("non-numeric") => foreign(key),
        Reply::Refused(text) => {
            StoreError::of_check(format_args!("{text}: is its memory full (`-m`), or is it no Memcached 1.6?"))
        }
        _ => StoreError::of_check("the server answers another command"),
    }
}
