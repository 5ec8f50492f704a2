//! A Redis of the measurement's own, on a port and a socket that nobody else knows.

use std::process::Command;

use anyhow::{Context, Result};
use ratelimit_benches::subject::Store;
use redis::Client;
use tempfile::TempDir;

use crate::processes::{self, Process};

pub(crate) struct RedisServer {
    process: Process,
    folder: TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder for Redis")?;
        let port = processes::free_port()?;
        let mut command = Command::new("redis-server");
        command
            .current_dir(folder.path())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--unixsocket", "redis.sock"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        Ok(Self { process: Process::start(command, port)?, folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The URL for subjects with this store.
    pub(crate) fn url(&self, store: Store) -> Option<String> {
        match store {
            Store::Memory => None,
            Store::Unix => Some(format!("redis+unix://{}/redis.sock", self.folder.path().display())),
            Store::Tcp => Some(format!("redis://127.0.0.1:{}/", self.process.port)),
        }
    }

    /// Forgets all counters, so that one scenario leaves nothing to the next.
    pub(crate) fn flush(&self) -> Result<()> {
        let url = format!("redis://127.0.0.1:{}/", self.process.port);
        let mut connection = Client::open(url)?.get_connection().context("Redis does not answer")?;
        redis::cmd("FLUSHALL").exec(&mut connection).context("cannot flush Redis")
    }
}
