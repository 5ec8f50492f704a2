//! A connection to one server, on one runtime: a task that owns the socket. Commands that wait go out together, and replies are matched in
//! order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    time::{sleep, timeout},
};

use crate::store::{
    clock,
    memcached::{
        clock::ServerSeconds,
        protocol::{self, Commands, Reply},
    },
};

/// The longest time for a connection to open, and the longest silence of a server that owes replies.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pauses after failures: the first, and the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many requests are written at once.
const BATCH: usize = 256;

/// The state of a server that all connections to it share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: String,
    clock: Mutex<ServerSeconds>,
}

/// The connection is gone, and why.
pub(super) type Lost = Arc<str>;

/// Commands, and where their replies go.
struct Request {
    commands: Commands,
    replies: oneshot::Sender<Result<Vec<Reply>, Lost>>,
}

/// Replies that are still to come.
struct Awaited {
    /// `None` for a reading of the clock.
    replies: Option<oneshot::Sender<Result<Vec<Reply>, Lost>>>,
    came: Vec<Reply>,
    number: usize,
    sent: Instant,
}

/// Sends commands to a connection. Its task ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Connection(UnboundedSender<Request>);

impl Server {
    pub(super) fn new(address: String) -> Self {
        Self { address, clock: Mutex::new(ServerSeconds::new(Instant::now())) }
    }

    /// The server's time since the epoch, if it was ever read.
    pub(super) fn now(&self) -> Option<Duration> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now(), clock::system())
    }

    fn observe(&self, seconds: u64, sent: Instant) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).observe(seconds, sent, Instant::now());
    }

    fn is_due(&self) -> bool {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now())
    }
}

impl Connection {
    /// Starts the task on the current runtime. It connects at the first request.
    pub(super) fn start(server: Arc<Server>) -> Self {
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(run(server, requests));
        Self(sender)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends commands, and waits for their replies.
    pub(super) async fn send(&self, commands: Commands) -> Result<Vec<Reply>, Lost> {
        let (replies, answer) = oneshot::channel();
        let ended = || Lost::from("the connection's task has ended");
        self.0.send(Request { commands, replies }).map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Connects and serves, until nobody sends any more.
async fn run(server: Arc<Server>, mut requests: UnboundedReceiver<Request>) {
    let mut pause = SHORTEST_PAUSE;
    while let Some(first) = requests.recv().await {
        let lost: Lost = match timeout(PATIENCE, TcpStream::connect(&server.address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                let Some((lost, has_answered)) = serve(&server, stream, first, &mut requests).await else { return };
                // The kernel accepts connections for a server that is stopped.
                if has_answered {
                    pause = SHORTEST_PAUSE;
                }
                lost
            }
            Ok(Err(error)) => {
                let lost = Lost::from(format!("{}: {error}", server.address));
                let _ = first.replies.send(Err(Arc::clone(&lost)));
                lost
            }
            Err(_) => {
                let lost = Lost::from(format!("{}: no connection within {PATIENCE:?}", server.address));
                let _ = first.replies.send(Err(Arc::clone(&lost)));
                lost
            }
        };
        // Meanwhile, requests fail at once.
        let mut waits = std::pin::pin!(sleep(pause));
        pause = (pause * 2).min(LONGEST_PAUSE);
        loop {
            tokio::select! {
                () = &mut waits => break,
                request = requests.recv() => match request {
                    Some(request) => drop(request.replies.send(Err(Arc::clone(&lost)))),
                    None => return,
                },
            }
        }
    }
}

/// Serves requests over a connection, and returns why it is lost, and whether it has answered any; `None`, if nobody sends any more.
async fn serve(
    server: &Server,
    mut stream: TcpStream,
    first: Request,
    requests: &mut UnboundedReceiver<Request>,
) -> Option<(Lost, bool)> {
    let (mut reader, mut writer) = stream.split();
    let mut serving = Serving { server, awaited: VecDeque::new(), input: Vec::new(), has_answered: false };
    let (mut batch, mut chunk, mut heard) = (vec![first], vec![0; 16 * 1024], Instant::now());
    let lost = loop {
        // Silence is counted while the server owes replies.
        if serving.awaited.is_empty() {
            heard = Instant::now();
        }
        let bytes = serving.take(&mut batch);
        if !bytes.is_empty() {
            match timeout(PATIENCE, writer.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break format!("takes no commands for {PATIENCE:?}"),
            }
        }
        tokio::select! {
            read = reader.read(&mut chunk) => match read {
                Ok(0) => break "the connection was closed".to_owned(),
                Ok(length) => {
                    heard = Instant::now();
                    serving.input.extend_from_slice(chunk.get(..length).unwrap_or_default());
                    if serving.answer().is_err() {
                        break "a reply is none of Memcached 1.6's meta protocol".to_owned();
                    }
                }
                Err(error) => break error.to_string(),
            },
            number = requests.recv_many(&mut batch, BATCH) => if number == 0 {
                return None;
            },
            () = sleep(PATIENCE.saturating_sub(heard.elapsed())), if !serving.awaited.is_empty() => {
                break format!("no reply for {PATIENCE:?}");
            }
        }
    };
    let lost = Lost::from(format!("{}: {lost}", server.address));
    for replies in serving.awaited.drain(..).filter_map(|awaited| awaited.replies) {
        let _ = replies.send(Err(Arc::clone(&lost)));
    }
    Some((lost, serving.has_answered))
}

struct Serving<'a> {
    server: &'a Server,
    awaited: VecDeque<Awaited>,
    /// The bytes of replies that are not complete.
    input: Vec<u8>,
    has_answered: bool,
}

impl Serving<'_> {
    /// The bytes to write: the requests that still have a receiver, and a reading of the clock if one is due.
    fn take(&mut self, batch: &mut Vec<Request>) -> Vec<u8> {
        let (mut bytes, sent) = (Vec::new(), Instant::now());
        if !batch.is_empty() && self.server.is_due() && self.awaited.iter().all(|awaited| awaited.replies.is_some()) {
            let mut commands = Commands::default();
            commands.time();
            bytes.append(&mut commands.bytes);
            self.awaited.push_back(Awaited { replies: None, came: Vec::new(), number: 1, sent });
        }
        for Request { commands, replies } in batch.drain(..).filter(|request| !request.replies.is_closed()) {
            bytes.extend_from_slice(&commands.bytes);
            self.awaited.push_back(Awaited {
                replies: Some(replies),
                came: Vec::new(),
                number: commands.replies,
                sent,
            });
        }
        bytes
    }

    /// Hands complete replies to their requests.
    fn answer(&mut self) -> Result<(), protocol::Malformed> {
        let mut used = 0;
        while let Some(awaited) = self.awaited.front_mut() {
            let Some((reply, length)) = protocol::read(self.input.get(used..).unwrap_or_default())? else { break };
            used += length;
            self.has_answered = true;
            awaited.came.push(reply);
            if awaited.came.len() < awaited.number {
                continue;
            }
            if let Some(Awaited { replies, came, sent, .. }) = self.awaited.pop_front() {
                match (replies, came.first()) {
                    (Some(replies), _) => drop(replies.send(Ok(came))),
                    (None, Some(Reply::Time(seconds))) => self.server.observe(*seconds, sent),
                    (None, _) => {}
                }
            }
        }
        if self.awaited.is_empty() && used < self.input.len() {
            // No request expects these bytes.
            return Err(protocol::Malformed);
        }
        self.input.drain(..used);
        Ok(())
    }
}
