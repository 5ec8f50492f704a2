//! A separate Redis for the measurement, on a port and a socket of its own.

use std::{os::unix::net::UnixStream, process::Command, thread, time::Duration};

use anyhow::{Context, Result};
use redis::Client;
use tempfile::TempDir;

use crate::{
    processes::{self, Process},
    subject::Store,
};

/// A Redis without persistence, which ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    folder: TempDir,
}

impl RedisServer {
    /// Starts the installed one.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder for Redis")?;
        let port = processes::free_port()?;
        let mut command = Command::new("redis-server");
        command
            .current_dir(folder.path())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--unixsocket", "redis.sock"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        let process = Process::start(command, port)?;
        // It listens on its port first.
        while UnixStream::connect(folder.path().join("redis.sock")).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { process, folder })
    }

    /// Its number among the processes.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The URL for subjects with this store.
    #[must_use]
    pub fn url(&self, store: Store) -> Option<String> {
        match store {
            Store::Memory => None,
            Store::Unix => Some(format!("redis+unix://{}/redis.sock", self.folder.path().display())),
            Store::Tcp => Some(format!("redis://127.0.0.1:{}/", self.process.port)),
        }
    }

    /// Forgets all counters, so that one scenario leaves nothing to the next.
    ///
    /// # Errors
    /// Redis does not do so.
    pub fn flush(&self) -> Result<()> {
        let url = format!("redis://127.0.0.1:{}/", self.process.port);
        let mut connection = Client::open(url)?.get_connection().context("Redis does not answer")?;
        redis::cmd("FLUSHALL").exec(&mut connection).context("cannot flush Redis")
    }
}
