//! A real redis-server that a test starts, breaks and ends.

mod process;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;

use redis::{Client, Connection, FromRedisValue, RedisResult};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::process::{Listener, configure, socket_in, spawn};
use crate::certificates::{CERTIFICATE, KEY, MANY_NAMES, MANY_NAMES_KEY};
use crate::http::Server;
use crate::ports::free_port;
use crate::wait;

/// The user of tests and servers. It needs no password and may do everything, whatever a test does to the other users.
pub(crate) const OPERATOR: &str = "operator";

/// An empty redis-server in a temporary folder. It is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    running: bool,
    mode: Mode,
    listener: Listener,
    folder: TempDir,
}

/// The transport between applications and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A Unix socket.
    Socket,
    /// A port of 127.0.0.1.
    Tcp,
    /// A port of 127.0.0.1 over TLS. Servers also use TLS among themselves.
    Tls,
}

/// The role of a redis-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Store,
    Sentinel,
}

impl RedisServer {
    /// Starts one on a free port of 127.0.0.1.
    pub fn on_port() -> Self {
        Self::start(Transport::Tcp, Mode::Store, &[])
    }

    /// Starts one on a Unix socket.
    pub fn on_socket() -> Self {
        Self::start(Transport::Socket, Mode::Store, &[])
    }

    /// Starts one on a free port of 127.0.0.1 over TLS.
    pub fn with_tls() -> Self {
        Self::start(Transport::Tls, Mode::Store, &[])
    }

    /// Starts one on a free port of 127.0.0.1 over TLS, for clients that show the same certificate.
    pub fn with_tls_for_clients_that_it_knows() -> Self {
        Self::start(Transport::Tls, Mode::Store, &["tls-auth-clients yes".to_owned()])
    }

    /// Starts one on a free port of 127.0.0.1 over TLS, with the certificate [`MANY_NAMES`].
    pub fn with_many_names() -> Self {
        let configuration = [format!("tls-cert-file {MANY_NAMES}"), format!("tls-key-file {MANY_NAMES_KEY}")];
        Self::start(Transport::Tls, Mode::Store, &configuration)
    }

    /// Starts a sentinel without TLS that watches `primary`, which speaks TLS.
    pub fn plain_sentinel_of(primary: &Self, service: &str) -> Self {
        let configuration = [
            "tls-replication yes".to_owned(),
            format!("tls-ca-cert-file {CERTIFICATE}"),
            format!("tls-cert-file {CERTIFICATE}"),
            format!("tls-key-file {KEY}"),
            format!("sentinel monitor {service} 127.0.0.1 {} 1", primary.port()),
            format!("sentinel auth-user {service} {OPERATOR}"),
            format!("sentinel auth-pass {service} none"),
        ];
        Self::start(Transport::Tcp, Mode::Sentinel, &configuration)
    }

    /// Starts one on a free port of 127.0.0.1 that is a whole cluster by itself.
    pub fn in_a_cluster_of_its_own() -> Self {
        let server = Self::start(Transport::Tcp, Mode::Store, &["cluster-enabled yes".to_owned()]);
        server.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        server
    }

    /// Starts one on a free port of 127.0.0.1 with further lines of configuration.
    pub fn with_configuration(further: &[&str]) -> Self {
        let further: Vec<String> = further.iter().map(|line| (*line).to_owned()).collect();
        Self::start(Transport::Tcp, Mode::Store, &further)
    }

    /// Starts one on a free port of 127.0.0.1 that is a cluster by itself, with all slots.
    pub fn as_cluster_of_one() -> Self {
        let server = Self::with_configuration(&["cluster-enabled yes"]);
        let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
        let mut command = vec!["CLUSTER", "ADDSLOTS"];
        command.extend(slots.iter().map(String::as_str));
        server.ask::<()>(&command);
        let state = || server.info(&["CLUSTER", "INFO"], "cluster_state");
        wait::until("the cluster works", || state().as_deref() == Some("ok"));
        server
    }

    /// Starts one with further lines of configuration.
    pub(crate) fn start(transport: Transport, mode: Mode, configuration: &[String]) -> Self {
        // If somebody takes the port before the start, the next attempt takes another.
        wait::until_some("a port that nobody takes", || {
            let listener = match transport {
                Transport::Socket => Listener::Socket,
                Transport::Tcp => Listener::Tcp(free_port()),
                Transport::Tls => Listener::Tls(free_port()),
            };
            let folder = TempDir::new().expect("a temporary folder");
            configure(&folder, listener, configuration);
            let process = spawn(&folder, mode);
            let mut server = Self { process, running: true, mode, listener, folder };
            server.wait_until_ready().then_some(server)
        })
        .0
    }

    /// The URL for a limiter.
    pub fn url(&self) -> String {
        match self.listener {
            Listener::Socket => format!("redis+unix://{}", self.socket().display()),
            Listener::Tcp(port) => format!("redis://127.0.0.1:{port}/"),
            Listener::Tls(port) => format!("rediss://127.0.0.1:{port}/"),
        }
    }

    /// The address, for a proxy.
    ///
    /// # Panics
    /// When the server listens on a Unix socket.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port()))
    }

    /// The port.
    ///
    /// # Panics
    /// When the server listens on a Unix socket.
    pub fn port(&self) -> u16 {
        match self.listener {
            Listener::Tcp(port) | Listener::Tls(port) => port,
            Listener::Socket => panic!("{:?} is no TCP address", self.socket()),
        }
    }

    /// Whether it was not killed since its start.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.running = false;
        // On an error, the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Sends SIGSTOP: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the server if it runs, and starts an empty one at the same address.
    pub fn restart(&mut self) {
        self.start_again();
        self.wait();
    }

    /// Kills the server, and starts one that takes some seconds to load what this one holds now.
    pub fn restart_loading(&mut self) {
        // Microseconds for each key, and the bytes after which other commands get their turn.
        let slowly = [("key-load-delay", "10000"), ("loading-process-events-interval-bytes", "1024")];
        for (setting, value) in slowly.into_iter().chain([("rdbcompression", "no")]) {
            self.ask::<()>(&["CONFIG", "SET", setting, value]);
        }
        for key in 0..300 {
            self.ask::<()>(&["SET", &format!("ballast:{key}"), &"x".repeat(1024), "EX", "1000"]);
        }
        self.ask::<()>(&["SAVE"]);
        self.ask::<()>(&["CONFIG", "REWRITE"]);
        self.start_again();
    }

    /// Waits until a server that was started again is ready.
    pub fn wait(&mut self) {
        assert!(self.wait_until_ready(), "redis-server ended: {}", self.log());
    }

    fn start_again(&mut self) {
        self.kill();
        self.process = spawn(&self.folder, self.mode);
        self.running = true;
    }

    /// The answer to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}; {}", self.log()))
    }

    /// Sends a command like [`RedisServer::ask`], for a command that may fail.
    pub fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        redis::cmd(command[0]).arg(&command[1..]).query(&mut self.operator()?)
    }

    /// Sends a command and does not wait for its end.
    pub fn tell(&self, command: &[&str]) {
        let mut connection = self.operator().expect("the server takes commands");
        let packed = redis::cmd(command[0]).arg(&command[1..]).get_packed_command();
        connection.send_packed_command(&packed).expect("the server takes a command");
    }

    /// A line of `INFO`, or of another reply in its form.
    pub fn info(&self, command: &[&str], name: &str) -> Option<String> {
        // Sentinel ends all connections of a server that it turns into a replica.
        let answer: String = self.try_ask(command).ok()?;
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// The number of calls of a command, including calls by scripts.
    pub fn calls(&self, command: &str) -> usize {
        let Some(line) = self.info(&["INFO", "commandstats"], &format!("cmdstat_{command}")) else { return 0 };
        line.split(['=', ',']).nth(1).and_then(|calls| calls.parse().ok()).expect("a number of calls")
    }

    /// The keys of counters, sorted, without the mark, by which processes learn of resets.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]);
        keys.retain(|key| !key.ends_with("/mark"));
        keys.sort();
        keys
    }

    /// The keys without an expiry.
    pub fn keys_without_expiry(&self) -> Vec<String> {
        const SCRIPT: &str = "local kept = {} \
            for _, key in ipairs(redis.call('KEYS', '*')) do \
                if redis.call('TTL', key) == -1 then kept[#kept + 1] = key end \
            end \
            return kept";
        self.ask(&["EVAL", SCRIPT, "0"])
    }

    /// The number of connected applications, without the operator.
    pub fn clients(&self) -> usize {
        let list: String = self.ask(&["CLIENT", "LIST", "TYPE", "normal"]);
        let operator = format!("user={OPERATOR}");
        list.lines().filter(|line| !line.split(' ').any(|field| field == operator)).count()
    }

    /// Asserts that `servers` share one limit: of requests to each in turn, exactly `limit` pass.
    ///
    /// These servers have the default deadline. On a busy machine a check may miss it, and the server counts by itself. So
    /// this starts over with empty counters until no check is late.
    pub fn assert_shared_by(&self, servers: &[impl Server], path: &str, limit: usize) {
        wait::until("the servers share one limit", || {
            self.ask::<()>(&["FLUSHALL"]);
            let statuses = (0..limit + 2).map(|request| servers[request % servers.len()].get(path).status);
            statuses.filter(|status| *status == 200).count() == limit
        });
        assert!(servers.iter().all(|server| server.get(path).status == 429));
    }

    /// Whether this replica's link to its primary is up.
    pub(crate) fn is_linked(&self) -> bool {
        self.info(&["INFO", "replication"], "master_link_status").as_deref() == Some("up")
    }

    fn operator(&self) -> RedisResult<Connection> {
        let url = format!("unix://{}?user={OPERATOR}&pass=none", self.socket().display());
        let connection = Client::open(url)?.get_connection_with_timeout(wait::PATIENCE)?;
        connection.set_read_timeout(Some(wait::PATIENCE))?;
        Ok(connection)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).expect("the server is there to be signalled");
    }

    fn socket(&self) -> PathBuf {
        socket_in(&self.folder)
    }

    /// `false` when the process has ended.
    fn wait_until_ready(&mut self) -> bool {
        let what = format!("redis-server answers; its log is in {:?}", self.folder.path());
        let attempt = || match self.process.try_wait().expect("the state of a child") {
            Some(_) => Some(false),
            None => self.try_ask::<()>(&["PING"]).is_ok().then_some(true),
        };
        wait::until_some(&what, attempt).0
    }

    /// The log of the server.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
