//! The process of a redis-server: its program, its port, and its configuration.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Mode, OPERATOR};
use crate::certificates::{CERTIFICATE, KEY};

/// The environment variable that names the folder of another server's programs, as an absolute path.
const FOLDER: &str = "REDIS_BIN";

/// The listener for applications. Every server also listens on a socket in its folder, for the tests' own commands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listener {
    Socket,
    Tcp(u16),
    Tls(u16),
}

pub(crate) fn socket_in(folder: &TempDir) -> PathBuf {
    folder.path().join("redis.sock")
}

/// Writes the configuration. Redis saves nothing unless a test asks for it, so a server that starts again is empty.
pub(crate) fn configure(folder: &TempDir, listener: Listener, further: &[String]) {
    let mut lines = vec![
        format!("dir {}", folder.path().display()),
        "save \"\"".to_owned(),
        "bind 127.0.0.1".to_owned(),
        format!("unixsocket {}", socket_in(folder).display()),
        format!("user {OPERATOR} on nopass ~* &* +@all"),
    ];
    match listener {
        Listener::Socket => lines.push("port 0".to_owned()),
        Listener::Tcp(port) => lines.push(format!("port {port}")),
        Listener::Tls(port) => lines.extend([
            "port 0".to_owned(),
            format!("tls-port {port}"),
            format!("tls-cert-file {CERTIFICATE}"),
            format!("tls-key-file {KEY}"),
            format!("tls-ca-cert-file {CERTIFICATE}"),
            "tls-auth-clients no".to_owned(),
            "tls-replication yes".to_owned(),
        ]),
    }
    lines.extend_from_slice(further);
    std::fs::write(folder.path().join("redis.conf"), lines.join("\n") + "\n").expect("a configuration file");
}

pub(crate) fn spawn(folder: &TempDir, mode: Mode) -> Child {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).expect("a log file");
    let program = program();
    let mut command = Command::new(&program);
    command.arg(folder.path().join("redis.conf"));
    if mode == Mode::Sentinel {
        command.arg("--sentinel");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "{} does not start ({error}); tests/run.sh installs it, or: apt-get install redis-server",
            program.display()
        )
    })
}

/// The program of the server: in the folder that the environment names, or else in `PATH`. Valkey's is `valkey-server`.
fn program() -> PathBuf {
    let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty());
    let Some(folder) = folder.map(PathBuf::from) else { return "redis-server".into() };
    let programs = ["redis-server", "valkey-server"].map(|name| folder.join(name));
    let found = programs.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("{FOLDER}: there is no redis-server or valkey-server in {}", folder.display()))
}
