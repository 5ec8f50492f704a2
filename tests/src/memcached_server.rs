//! A real memcached that a test starts, breaks and ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::ports::free_port;
use crate::wait;

/// An empty memcached on a port of 127.0.0.1. It is killed when this is dropped.
#[derive(Debug)]
pub struct MemcachedServer {
    process: Child,
    port: u16,
    further: Vec<String>,
}

impl MemcachedServer {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further options, such as `-m 1`.
    pub fn with(further: &[&str]) -> Self {
        let (port, further) = (free_port(), further.iter().map(ToString::to_string).collect::<Vec<_>>());
        let server = Self { process: spawn(port, &further), port, further };
        server.wait();
        server
    }

    /// The URL of the store.
    pub fn url(&self) -> String {
        format!("memcached://{}", self.address())
    }

    /// The host and the port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        // On an error, the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts an empty one at the same address, after the last was killed.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, &self.further);
        self.wait();
    }

    /// Sends SIGSTOP: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a command, and returns the first bytes of the reply.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("the server accepts connections");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream.write_all(command.as_bytes()).expect("the server reads");
        let mut reply = [0; 64 * 1024];
        let length = stream.read(&mut reply).expect("a reply");
        String::from_utf8_lossy(&reply[..length]).into_owned()
    }

    /// Fills the memory with items of many sizes, until none of them fits.
    pub fn fill(&self) {
        let mut number = 0;
        for size in [500_000, 1, 20, 40, 60, 90, 130, 200] {
            let (data, each) = ("x".repeat(size), if size > 1000 { 1 } else { 500 });
            wait::until("the memory is full", || {
                let commands = (0..each).map(|index| format!("ms filler{}-{index} {size}\r\n{data}\r\n", number));
                let commands: String = commands.collect();
                number += 1;
                self.ask_all(&commands).contains("out of memory")
            });
        }
    }

    /// Sends commands, and returns all replies.
    fn ask_all(&self, commands: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("the server accepts connections");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream.write_all(format!("{commands}mn\r\n").as_bytes()).expect("the server reads");
        let (mut replies, mut chunk) = (String::new(), [0; 64 * 1024]);
        while !replies.ends_with("MN\r\n") {
            let length = stream.read(&mut chunk).expect("replies");
            assert!(length > 0, "the connection ends: {replies}");
            replies += &String::from_utf8_lossy(&chunk[..length]);
        }
        replies
    }

    fn wait(&self) {
        wait::until("memcached accepts connections", || TcpStream::connect(self.address()).is_ok());
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("the server runs");
    }
}

impl Drop for MemcachedServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, further: &[String]) -> Child {
    let mut command = Command::new("memcached");
    command.args(["-l", "127.0.0.1", "-U", "0", "-u", "nobody", "-p", &port.to_string()]).args(further);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("memcached does not start ({error}); tests/run.sh installs it, or: apt-get install memcached")
    })
}
