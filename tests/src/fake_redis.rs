//! A server in the place of Redis that answers what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

/// The answer to each piece of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// These bytes.
    Text(String),
    /// The first bytes, and then the second ones again and again, as long as the client reads.
    WithoutEnd(String, String),
}

/// A server on a free port of 127.0.0.1; it ends when this is dropped.
#[derive(Debug)]
pub struct FakeRedis {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    accepted: AtomicUsize,
    over: AtomicBool,
}

impl FakeRedis {
    /// Answers each piece of input by `answer`.
    pub fn start(answer: impl Fn(&str) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the port that was given");
        let (state, answer) = (Arc::<State>::default(), Arc::new(answer));
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for stream in listener.incoming().flatten() {
                    if state.over.load(SeqCst) {
                        return;
                    }
                    state.accepted.fetch_add(1, SeqCst);
                    let (state, answer) = (Arc::clone(&state), Arc::clone(&answer));
                    std::thread::spawn(move || state.serve(stream, &*answer));
                }
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections that it has accepted.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(SeqCst)
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream, answer: &dyn Fn(&str) -> Says) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let said = match answer(&String::from_utf8_lossy(&buffer[..length])) {
                Says::Text(text) => stream.write_all(text.as_bytes()),
                Says::WithoutEnd(first, rest) => {
                    let mut said = stream.write_all(first.as_bytes());
                    let rest = rest.repeat(1 << 12);
                    while said.is_ok() && !self.over.load(SeqCst) {
                        said = stream.write_all(rest.as_bytes());
                    }
                    said
                }
            };
            if said.is_err() {
                return;
            }
        }
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.state.over.store(true, SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
