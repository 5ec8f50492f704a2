//! A real Redis behind Sentinel that a test starts, breaks and ends: a primary, two replicas and three sentinels.

use std::collections::HashMap;

use crate::redis_server::{Mode, OPERATOR, RedisServer, Transport};
use crate::wait;

/// The name by which the sentinels know the primary.
pub const SERVICE: &str = "main";

/// The silence, in milliseconds, after which a sentinel considers a server dead.
const DOWN_AFTER: u32 = 1000;

const SERVERS: usize = 3;
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// Three servers and their sentinels. An index names a server; the first server is the primary at the start. All end when
/// this is dropped.
#[derive(Debug)]
pub struct RedisSentinel {
    // Declared first, so that the sentinels end first and promote nobody while the servers end.
    sentinels: Vec<RedisServer>,
    servers: Vec<RedisServer>,
    transport: Transport,
}

impl RedisSentinel {
    /// Starts one that needs no password.
    pub fn start() -> Self {
        Self::with(Transport::Tcp, &[], &[])
    }

    /// Starts one with more lines of configuration for each server and for each sentinel, such as `requirepass` and `user`.
    pub fn with(transport: Transport, access: &[&str], sentinel_access: &[&str]) -> Self {
        let mut configuration = vec![
            "repl-diskless-sync-delay 0".to_owned(),
            format!("masteruser {OPERATOR}"),
            "masterauth none".to_owned(),
        ];
        configuration.extend(access.iter().map(|line| (*line).to_owned()));
        let mut servers = vec![RedisServer::start(transport, Mode::Store, &configuration)];
        configuration.push(format!("replicaof 127.0.0.1 {}", servers[0].port()));
        servers.extend((1..SERVERS).map(|_| RedisServer::start(transport, Mode::Store, &configuration)));
        // Sentinels learn of replicas from their first question to the primary. The next question comes ten seconds later.
        wait::until("the replicas are linked", || servers[1..].iter().all(RedisServer::is_linked));
        let mut configuration = vec![
            format!("sentinel monitor {SERVICE} 127.0.0.1 {} {QUORUM}", servers[0].port()),
            format!("sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}"),
            // Sentinels that disagree vote again after twice this time.
            format!("sentinel failover-timeout {SERVICE} 3000"),
            format!("sentinel auth-user {SERVICE} {OPERATOR}"),
            format!("sentinel auth-pass {SERVICE} none"),
            format!("sentinel sentinel-user {OPERATOR}"),
            "sentinel sentinel-pass none".to_owned(),
        ];
        configuration.extend(sentinel_access.iter().map(|line| (*line).to_owned()));
        let start = |_| RedisServer::start(transport, Mode::Sentinel, &configuration);
        let sentinel = Self { sentinels: (0..SENTINELS).map(start).collect(), servers, transport };
        for sentinel in &sentinel.sentinels {
            // The default is every ten seconds. Redis before 7.0 has no such setting.
            let _ = sentinel.try_ask::<()>(&["SENTINEL", "DEBUG", "info-period", "500"]);
        }
        sentinel.wait_until_healthy();
        sentinel
    }

    /// Waits until every sentinel knows the others, and two replicas that it can promote.
    pub fn wait_until_healthy(&self) {
        wait::until("the sentinels know each other and the replicas", || {
            self.sentinels.iter().all(|sentinel| {
                let replicas: Vec<HashMap<String, String>> = sentinel.ask(&["SENTINEL", "REPLICAS", SERVICE]);
                let well = |replica: &&HashMap<String, String>| {
                    replica["flags"] == "slave" && replica["master-link-status"] == "ok"
                };
                let knows = self.master_as_seen_by(sentinel);
                knows["num-other-sentinels"] == "2"
                    && knows["flags"] == "master"
                    && replicas.iter().filter(well).count() == 2
            })
        });
    }

    /// The URL for a limiter.
    pub fn url(&self) -> String {
        self.url_as("", "")
    }

    /// The URL for a limiter, with credentials for the servers, such as `user:password@`, and a suffix, such as
    /// `/3?sentinel_password=secret`.
    pub fn url_as(&self, credentials: &str, end: &str) -> String {
        let scheme = if self.transport == Transport::Tls { "rediss+sentinel" } else { "redis+sentinel" };
        let addresses: Vec<String> = self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        format!("{scheme}://{credentials}{}/{SERVICE}{end}", addresses.join(","))
    }

    /// One of the servers.
    pub fn server(&self, index: usize) -> &RedisServer {
        &self.servers[index]
    }

    /// The sentinels.
    pub fn sentinels(&mut self) -> &mut [RedisServer] {
        &mut self.sentinels
    }

    /// The primary, if all running sentinels agree on a server that runs and takes writes.
    pub fn primary(&self) -> Option<usize> {
        self.elected().filter(|index| self.leads(*index))
    }

    /// The server on which all running sentinels agree.
    fn elected(&self) -> Option<usize> {
        let running = || self.sentinels.iter().filter(|sentinel| sentinel.is_running());
        let mut ports = running().map(|sentinel| self.master_as_seen_by(sentinel)["port"].clone());
        let port = ports.next()?;
        let agreed = ports.all(|other| other == port);
        self.servers.iter().position(|server| agreed && server.port().to_string() == port)
    }

    fn leads(&self, index: usize) -> bool {
        let server = &self.servers[index];
        server.is_running() && server.info(&["INFO", "replication"], "role").as_deref() == Some("master")
    }

    /// Kills a server with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    /// Starts an empty server at the same address. The sentinels make it a replica if they have promoted another one.
    pub fn restart(&mut self, index: usize) {
        self.servers[index].restart();
    }

    /// Tells the sentinels to promote a replica while the primary is well.
    pub fn fail_over(&self) {
        wait::until("the sentinels agree to promote a replica", || {
            self.sentinels[0].try_ask::<()>(&["SENTINEL", "FAILOVER", SERVICE]).is_ok()
        });
    }

    /// Waits until a server other than this one is the primary. Sentinels that disagree vote again some seconds later,
    /// possibly several times.
    pub fn wait_for_promotion(&self, other_than: usize) -> usize {
        // The old primary may be stopped, and would not answer.
        let promoted = || self.elected().filter(|index| *index != other_than && self.leads(*index));
        let has_come = (0..3).any(|_| wait::holds(|| promoted().is_some()));
        let logs = || self.sentinels.iter().map(RedisServer::log).collect::<String>();
        assert!(has_come, "no replica is promoted; the sentinels say:\n{}", logs());
        wait::until_some("a replica is promoted", promoted).0
    }

    /// The server that is the primary now.
    pub fn current(&self) -> &RedisServer {
        &self.servers[wait::until_some("there is a primary", || self.primary()).0]
    }

    /// The number of connected applications, over all servers.
    pub fn clients(&self) -> usize {
        self.servers.iter().filter(|server| server.is_running()).map(RedisServer::clients).sum()
    }

    fn master_as_seen_by(&self, sentinel: &RedisServer) -> HashMap<String, String> {
        sentinel.ask(&["SENTINEL", "MASTER", SERVICE])
    }
}
