//! A real redis-server that a test starts, hurts and ends.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::Server;
use crate::wait;

/// What the server shows over TLS: signed by itself, for 127.0.0.1, until the year 2126. The key opens nothing else.
pub const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/certificate.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/key.pem");

/// A redis-server of its own, empty, in a temporary folder; it is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    place: Place,
    folder: TempDir,
    /// Over TLS, besides.
    tls_port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Place {
    Port(u16),
    Socket(PathBuf),
}

impl RedisServer {
    /// Starts one on a free port of 127.0.0.1.
    pub fn on_port() -> Self {
        // Between the look and the start somebody else may take the port; then the next one is tried.
        let (server, _) = wait::until_some("a port that nobody takes", || {
            let folder = TempDir::new().expect("a temporary folder");
            let place = Place::Port(free_port());
            let mut process = spawn(&place, None, &folder);
            let ready = wait_until_ready(&mut process, &place, &folder);
            ready.then_some(Self { process, place, folder, tls_port: None })
        });
        server
    }

    /// Starts one on a Unix socket.
    pub fn on_socket() -> Self {
        Self::on_socket_and(None)
    }

    /// Starts one on a Unix socket, and on a free port of 127.0.0.1 over TLS.
    pub fn with_tls() -> Self {
        Self::on_socket_and(Some(free_port()))
    }

    fn on_socket_and(tls_port: Option<u16>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let place = Place::Socket(folder.path().join("redis.sock"));
        let process = spawn(&place, tls_port, &folder);
        let mut server = Self { process, place, folder, tls_port };
        server.wait();
        server
    }

    /// The URL for a limiter.
    pub fn url(&self) -> String {
        self.place.url("redis+unix")
    }

    /// The URL for a limiter that calls over TLS.
    ///
    /// # Panics
    /// When the server does not listen for that.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}/", self.tls_port.expect("a server with TLS"))
    }

    /// The address, for a proxy.
    ///
    /// # Panics
    /// When the server listens on a Unix socket.
    pub fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Port(port) => SocketAddr::from(([127, 0, 0, 1], *port)),
            Place::Socket(path) => panic!("{path:?} is no TCP address"),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// SIGSTOP: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the server if it runs, and starts an empty one at the same address.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.place, self.tls_port, &self.folder);
        self.wait();
    }

    /// The answer to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.place.ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// The keys that would never leave.
    pub fn keys_without_expiry(&self) -> Vec<String> {
        const SCRIPT: &str = "local kept = {} \
            for _, key in ipairs(redis.call('KEYS', '*')) do \
                if redis.call('TTL', key) == -1 then kept[#kept + 1] = key end \
            end \
            return kept";
        self.ask(&["EVAL", SCRIPT, "0"])
    }

    /// Asserts that `servers` share one limit: of requests to each in turn, exactly `limit` pass.
    ///
    /// These servers have the deadline that users have. On a busy machine a check may miss it, and then the server counts by
    /// itself, as it should: so this starts over with empty counters until it is as it should be.
    pub fn assert_shared_by(&self, servers: &[impl Server], path: &str, limit: usize) {
        wait::until("the servers share one limit", || {
            self.ask::<()>(&["FLUSHALL"]);
            let statuses = (0..limit + 2).map(|request| servers[request % servers.len()].get(path).status);
            statuses.filter(|status| *status == 200).count() == limit
        });
        assert!(servers.iter().all(|server| server.get(path).status == 429));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).expect("the server is there to be signalled");
    }

    fn wait(&mut self) {
        let ready = wait_until_ready(&mut self.process, &self.place, &self.folder);
        assert!(ready, "redis-server ended: {}", log_of(&self.folder));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Place {
    fn url(&self, unix: &str) -> String {
        match self {
            Self::Port(port) => format!("redis://127.0.0.1:{port}/"),
            Self::Socket(path) => format!("{unix}://{}", path.display()),
        }
    }

    fn ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url("unix"))?.get_connection_with_timeout(wait::PATIENCE)?;
        connection.set_read_timeout(Some(wait::PATIENCE))?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
    }
}

/// No file is ever written: a server that starts again starts empty.
fn spawn(place: &Place, tls_port: Option<u16>, folder: &TempDir) -> Child {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).expect("a log file");
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]).arg("--dir").arg(folder.path());
    match place {
        Place::Port(port) => command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]),
        Place::Socket(path) => command.args(["--port", "0", "--unixsocket"]).arg(path),
    };
    if let Some(port) = tls_port {
        command.args(["--bind", "127.0.0.1", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
        command.args(["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY, "--tls-ca-cert-file", CERTIFICATE]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
    command.spawn().unwrap_or_else(|error| {
        panic!("redis-server does not start ({error}); tests/run.sh installs it, or: apt-get install redis-server")
    })
}

/// Waits until exactly this process answers at its place; `false` when it has ended.
fn wait_until_ready(process: &mut Child, place: &Place, folder: &TempDir) -> bool {
    let pid = format!("process_id:{}\r", process.id());
    let attempt = || {
        if process.try_wait().expect("the state of a child").is_some() {
            return Some(false);
        }
        let server: String = place.ask(&["INFO", "server"]).ok()?;
        server.contains(&pid).then_some(true)
    };
    let what = format!("redis-server at {place:?} answers; its log is in {:?}", folder.path());
    wait::until_some(&what, attempt).0
}

fn log_of(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("log")).unwrap_or_default()
}

/// A free port below those that the system gives away by itself: while a server is down, no connection of another test can
/// be given its port.
fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
