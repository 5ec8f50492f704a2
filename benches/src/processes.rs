//! The processes that a measurement starts, and ends by their handles.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// The longest time until a server listens.
const START: Duration = Duration::from_secs(10);

/// A server on a port of this machine, which ends with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The address.
    pub port: u16,
}

impl Process {
    /// Starts `command`, and waits until it listens on `port`.
    ///
    /// # Errors
    /// It does not start, or does not listen in time.
    pub fn start(mut command: Command, port: u16) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        // A server of ours ends with this pipe, also if this process is killed.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot start {program}"))?;
        let mut process = Self { child, port };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{program} ended with {status} before it listened");
            }
            if started.elapsed() > START {
                bail!("{program} does not listen on port {port} after {START:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// Its number among the processes.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// The version that a program prints.
///
/// # Errors
/// It is not installed, which the error says how to mend.
pub fn version(program: &str, argument: &str, package: &str) -> Result<String> {
    match Command::new(program).arg(argument).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{program} is not installed: on Debian and Ubuntu, apt-get install {package}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot run {program}")),
    }
}
