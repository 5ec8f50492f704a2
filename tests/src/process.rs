//! A server in a process of its own: the `app` of this crate, or an example.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Server;
use crate::wait;

/// A process that prints `listening on http://ADDRESS`; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
    output: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// The lines that a process has written so far, to standard output and standard error.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Process {
    /// Starts the command and waits until it prints its address.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Lines::default();
        let readers = vec![
            output.collect(child.stdout.take().expect("a pipe")),
            output.collect(child.stderr.take().expect("a pipe")),
        ];
        let address = wait_for_address(&mut child, &output);
        Self { child, address, output, readers }
    }

    /// The output so far.
    pub fn output(&self) -> Vec<String> {
        self.output.now()
    }

    /// How many lines of the output contain all of these words.
    pub fn lines_with(&self, words: &[&str]) -> usize {
        self.output().iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// The addresses that it has printed so far, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.output.addresses()
    }

    /// A figure of the kernel about the process, such as `Threads` or `VmRSS` (in KiB). `None` where the kernel has none.
    pub fn usage(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        value.split_whitespace().next()?.parse().ok()
    }

    /// Sends SIGSTOP: none of its threads runs.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGTERM, and returns the time until the process has ended.
    pub fn end(&mut self) -> Duration {
        self.signal(Signal::TERM);
        wait::until("the process ends", || self.child.try_wait().expect("the state of a child").is_some())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Sends SIGKILL. All that the process has written is in the output afterwards.
    pub fn kill(&mut self) {
        // On an error, the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
    }
}

impl Server for Process {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Lines {
    fn collect(&self, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                lines.0.lock().expect("no writer panics").push(line);
            }
        })
    }

    fn now(&self) -> Vec<String> {
        self.0.lock().expect("no writer panics").clone()
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let address = |line: &String| {
            let (_, rest) = line.split_once("listening on http://")?;
            rest.split(|end: char| end.is_whitespace() || end == '/').next()?.parse().ok()
        };
        self.now().iter().filter_map(address).collect()
    }
}

fn wait_for_address(child: &mut Child, output: &Lines) -> SocketAddr {
    let attempt = || {
        let ended = child.try_wait().expect("the state of a child");
        let address = output.addresses().first().copied();
        if let (Some(status), None) = (ended, address) {
            panic!("the server ended with {status}: {:#?}", output.now());
        }
        address
    };
    wait::until_some("the process says where it listens", attempt).0
}
