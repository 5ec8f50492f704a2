//! A TCP proxy between an application and Redis, with the faults of a network.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The fate of a request that does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its connection is cut.
    Cut,
    /// It is lost, and neither side learns of it.
    Lost,
}

/// A proxy on a free port of 127.0.0.1; its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    accepted: AtomicUsize,
    /// The number of accepted connections that have ended.
    ended: AtomicUsize,
    reply_delay: AtomicU64,
    request_bytes_left: AtomicU64,
    reply_bytes_left: AtomicU64,
    /// Connections with a lower number are forgotten: they stay open, and nothing passes.
    forgotten: AtomicUsize,
    /// Requests that contain this do not pass.
    refused: Mutex<Option<(&'static str, Refusal)>>,
    over: AtomicBool,
    /// The connections, each with the application's socket and that of Redis.
    open: Mutex<Vec<[TcpStream; 2]>>,
}

const UNLIMITED: u64 = u64::MAX;

impl Proxy {
    /// Passes everything on to `upstream` at first.
    pub fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the port that was given");
        let state = Arc::new(State {
            upstream,
            accepted: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            reply_delay: AtomicU64::new(0),
            request_bytes_left: AtomicU64::new(UNLIMITED),
            reply_bytes_left: AtomicU64::new(UNLIMITED),
            forgotten: AtomicUsize::new(0),
            refused: Mutex::default(),
            over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || state.accept(&listener)
        });
        Self { address, state, thread: Some(thread) }
    }

    /// The URL for an application that connects to Redis through this proxy.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// The number of connections that the application has opened.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(SeqCst)
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.accepted() - self.state.ended.load(SeqCst)
    }

    /// Sends unrequested bytes to the application, on each connection.
    pub fn say(&self, text: &str) {
        for [application, _] in &mut *self.state.open.lock().expect("no holder panics") {
            // The application may be gone.
            let _ = application.write_all(text.as_bytes());
        }
    }

    /// Delays each reply of Redis by this time.
    pub fn delay_replies(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).expect("a delay for a test");
        self.state.reply_delay.store(delay, SeqCst);
    }

    /// Cuts the connection as soon as the application has sent this many more bytes.
    pub fn cut_after_request_bytes(&self, bytes: u64) {
        self.state.request_bytes_left.store(bytes, SeqCst);
    }

    /// Cuts the connection as soon as Redis has sent this many more bytes: in the middle of a reply.
    pub fn cut_after_reply_bytes(&self, bytes: u64) {
        self.state.reply_bytes_left.store(bytes, SeqCst);
    }

    /// Whether a requested cut has happened.
    pub fn has_cut(&self) -> bool {
        self.state.request_bytes_left.load(SeqCst) == 0 || self.state.reply_bytes_left.load(SeqCst) == 0
    }

    /// Blocks the requests that contain this text.
    pub fn refuse(&self, text: &'static str, refusal: Refusal) {
        *self.state.refused.lock().expect("no holder panics") = Some((text, refusal));
    }

    /// Forgets all open connections, as a load balancer forgets idle ones: neither side learns of it. New connections are
    /// accepted.
    pub fn forget_connections(&self) {
        self.state.forgotten.store(self.accepted(), SeqCst);
    }

    /// Ends every open connection. New ones are accepted.
    pub fn drop_connections(&self) {
        self.state.drop_connections();
    }

    /// Passes everything on again, at once.
    pub fn heal(&self) {
        self.state.reply_delay.store(0, SeqCst);
        self.state.request_bytes_left.store(UNLIMITED, SeqCst);
        self.state.reply_bytes_left.store(UNLIMITED, SeqCst);
        *self.state.refused.lock().expect("no holder panics") = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, SeqCst);
        self.state.drop_connections();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for application in listener.incoming().flatten() {
            if self.over.load(SeqCst) {
                return;
            }
            let number = self.accepted.fetch_add(1, SeqCst);
            // Redis is down: dropping the application's connection closes it.
            if let Ok(redis) = TcpStream::connect(self.upstream) {
                self.join(number, &application, &redis).expect("sockets can be cloned");
            }
        }
    }

    fn join(self: &Arc<Self>, number: usize, application: &TcpStream, redis: &TcpStream) -> io::Result<()> {
        application.set_nodelay(true)?;
        redis.set_nodelay(true)?;
        self.open.lock().expect("no holder panics").push([application.try_clone()?, redis.try_clone()?]);
        let requests =
            self.pump(number, application.try_clone()?, redis.try_clone()?, |state| (&state.request_bytes_left, None));
        self.pump(number, redis.try_clone()?, application.try_clone()?, |state| {
            (&state.reply_bytes_left, Some(&state.reply_delay))
        });
        let state = Arc::clone(self);
        std::thread::spawn(move || {
            let _ = requests.join();
            state.ended.fetch_add(1, SeqCst);
        });
        Ok(())
    }

    fn pump(
        self: &Arc<Self>,
        number: usize,
        mut from: TcpStream,
        mut to: TcpStream,
        faults: fn(&Self) -> Faults<'_>,
    ) -> JoinHandle<()> {
        let state = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let (left, delay) = faults(&state);
                if let Some(delay) = delay.map(|delay| delay.load(SeqCst)).filter(|delay| *delay > 0) {
                    std::thread::sleep(Duration::from_millis(delay));
                }
                if number < state.forgotten.load(SeqCst) {
                    continue;
                }
                match state.refusal_of(&buffer[..length]) {
                    Some(Refusal::Cut) => break,
                    Some(Refusal::Lost) => continue,
                    None => {}
                }
                let allowed = take(left, length);
                if to.write_all(&buffer[..allowed]).is_err() || allowed < length {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        })
    }

    fn refusal_of(&self, piece: &[u8]) -> Option<Refusal> {
        let (text, refusal) = (*self.refused.lock().expect("no holder panics"))?;
        piece.windows(text.len()).any(|window| window == text.as_bytes()).then_some(refusal)
    }

    fn drop_connections(&self) {
        for socket in self.open.lock().expect("no holder panics").drain(..).flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// The number of bytes left before the cut, and the delay of each piece in milliseconds.
type Faults<'a> = (&'a AtomicU64, Option<&'a AtomicU64>);

/// The number of `length` bytes that may still pass.
fn take(left: &AtomicU64, length: usize) -> usize {
    let length = length as u64;
    let rest = |left: u64| Some(if left == UNLIMITED { left } else { left.saturating_sub(length) });
    let before = left.fetch_update(SeqCst, SeqCst, rest).unwrap_or_default();
    usize::try_from(before.min(length)).unwrap_or_default()
}
