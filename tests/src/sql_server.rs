//! Real PostgreSQL and MariaDB servers that a test starts, breaks and ends.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::sql_client::SqlClient;
use crate::wait;

/// The user under whom servers run that refuse to run as root: `nobody`.
const NOBODY: u32 = 65_534;

/// What differs between the databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    /// The newest one that is installed.
    #[cfg(feature = "postgres")]
    Postgres,
    /// MariaDB.
    #[cfg(feature = "mysql")]
    MariaDb,
}

/// A server with an empty database on a port of 127.0.0.1. It is killed when this is dropped.
#[derive(Debug)]
pub struct SqlServer {
    sql: Sql,
    process: Child,
    port: u16,
    folder: TempDir,
    further: Vec<String>,
}

impl SqlServer {
    /// Starts one.
    pub fn start(sql: Sql) -> Self {
        Self::with(sql, &[])
    }

    /// Starts one with further options of the server.
    pub fn with(sql: Sql, further: &[&str]) -> Self {
        Self::with_command(sql, further, |server| server)
    }

    fn with_command(sql: Sql, further: &[&str], change: impl FnOnce(Command) -> Command) -> Self {
        let (folder, data) = new_folder();
        let (port, further) = (free_port(), further.iter().map(ToString::to_string).collect::<Vec<_>>());
        run(sql.initialize(&data));
        let process = spawn(change(sql.server(&data, port, &further)));
        let server = Self { sql, process, port, folder, further };
        server.wait();
        server
    }

    /// Starts one that can write a few megabytes.
    pub fn on_a_small_disk(sql: Sql) -> Self {
        match sql {
            // The largest size of a file, in blocks of 512 bytes: 2 MB. The files of the log have one.
            #[cfg(feature = "postgres")]
            Sql::Postgres => Self::with_command(sql, &[], |server| {
                let mut command = Command::new("sh");
                command.args(["-c", "trap \"\" XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]);
                command.arg(server.get_program()).args(server.get_args());
                as_nobody(command)
            }),
            #[cfg(feature = "mysql")]
            Sql::MariaDb => Self::with(
                sql,
                &["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:14M"],
            ),
        }
    }

    /// Starts a replica of a server, with the same data.
    #[cfg(feature = "postgres")]
    pub fn replica_of(primary: &Self) -> Self {
        let (folder, data) = new_folder();
        let port = free_port();
        let mut copy = unprivileged(&postgres_program("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-U", "app", "-R", "-c", "fast", "-p", &primary.port.to_string(), "-D"])
            .arg(&data);
        run(copy);
        let further = primary.further.clone();
        let process = spawn(Sql::Postgres.server(&data, port, &further));
        let server = Self { sql: Sql::Postgres, process, port, folder, further };
        server.wait();
        server
    }

    /// The URL of the store.
    pub fn url(&self) -> String {
        self.url_of("app", "")
    }

    /// The URL of the store for another user, with options such as `?sslmode=disable`.
    pub fn url_of(&self, user: &str, options: &str) -> String {
        let (scheme, database) = match self.sql {
            #[cfg(feature = "postgres")]
            Sql::Postgres => ("postgres", "postgres"),
            #[cfg(feature = "mysql")]
            Sql::MariaDb => ("mysql", "app"),
        };
        format!("{scheme}://{user}@127.0.0.1:{}/{database}{options}", self.port)
    }

    /// The host and the port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The client of the database's administrator.
    pub fn client(&self) -> SqlClient {
        self.sql.client(self.port, self.sql.administrator())
    }

    /// Ends the server without a chance to tidy up.
    pub fn kill(&mut self) {
        match self.sql {
            // Its processes end together, as after a crash.
            #[cfg(feature = "postgres")]
            Sql::Postgres => drop(kill_process(pid(self.process.id()), Signal::QUIT)),
            #[cfg(feature = "mysql")]
            Sql::MariaDb => drop(self.process.kill()),
        }
        let _ = self.process.wait();
    }

    /// Starts it anew with the same data, after it was killed.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.sql.server(&self.folder.path().join("data"), self.port, &self.further));
        self.wait();
    }

    /// Sends SIGSTOP to all its processes: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let main = self.process.id();
        kill_process(pid(main), signal).expect("the server runs");
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            // A process of a connection may have ended.
            let _ = kill_process(pid(child.parse().expect("a number")), signal);
        }
    }

    fn wait(&self) {
        let client = self.client();
        wait::until("the database serves", || client.is_served());
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        // A process that is stopped does not end.
        self.resume_if_alive();
        self.kill();
    }
}

impl SqlServer {
    fn resume_if_alive(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            self.resume();
        }
    }
}

impl Sql {
    /// The column of the keys.
    pub fn key(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "key",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "`key`",
        }
    }

    fn administrator(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "app",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "root",
        }
    }

    /// The column of the tokens that were taken before.
    pub fn before(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => "before",
            #[cfg(feature = "mysql")]
            Self::MariaDb => "`before`",
        }
    }

    /// The client of another user.
    pub fn client_of(self, server: &SqlServer, user: &str) -> SqlClient {
        self.client(server.port, user)
    }

    fn client(self, port: u16, user: &str) -> SqlClient {
        let port = port.to_string();
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                let options =
                    ["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port, "-U", user, "postgres"];
                SqlClient::new("psql", &options)
            }
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                let options = ["--no-defaults", "-NBn", "-h", "127.0.0.1", "-P", &port, "-u", user, "app"];
                SqlClient::new("mariadb", &options)
            }
        }
    }

    /// The command that makes a folder of data.
    fn initialize(self, data: &Path) -> Command {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                let mut command = unprivileged(&postgres_program("initdb"));
                command.args(["--no-sync", "-A", "trust", "-U", "app", "--wal-segsize=1", "-E", "UTF8", "--no-locale"]);
                command.arg("-D").arg(data);
                command
            }
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                let start = data.with_file_name("start.sql");
                fs::write(&start, MARIADB_START).expect("a folder of ours");
                // It looks up this machine's name unless it is forced.
                let mut command = unprivileged(Path::new("mariadb-install-db"));
                command.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--force",
                ]);
                command.args(MARIADB_OPTIONS).arg(format!("--datadir={}", data.display()));
                // Servers that share a folder for temporary files delete those of others.
                command.arg(format!("--tmpdir={}", data.display()));
                command
            }
        }
    }

    /// The command that serves.
    fn server(self, data: &Path, port: u16, further: &[String]) -> Command {
        let folder = data.parent().expect("a folder");
        let mut command = match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                let mut command = unprivileged(&postgres_program("postgres"));
                command.arg("-D").arg(data);
                for setting in
                    ["fsync=off", "listen_addresses=127.0.0.1", "shared_buffers=16MB", "unix_socket_directories="]
                {
                    command.args(["-c", setting]);
                }
                command.args(["-p", &port.to_string()]);
                command
            }
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                let mut command = unprivileged(&program("mariadbd"));
                command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"]);
                command.args(MARIADB_OPTIONS).args(["--innodb-flush-log-at-trx-commit=0"]);
                command.arg(format!("--port={port}")).arg(format!("--datadir={}", data.display()));
                command.arg(format!("--tmpdir={}", data.display()));
                command.arg(format!("--socket={}", data.join("socket").display()));
                command.arg(format!("--pid-file={}", data.join("pid").display()));
                command.arg(format!("--init-file={}", folder.join("start.sql").display()));
                command
            }
        };
        command.args(further);
        command
    }
}

#[cfg(feature = "mysql")]
const MARIADB_OPTIONS: [&str; 3] =
    ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--innodb-use-native-aio=0"];

/// A folder, and one in it for data.
fn new_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an owned folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("an owned folder");
    if getuid().is_root() {
        chown(&data, Some(NOBODY), Some(NOBODY)).expect("root may do this");
    }
    (folder, data)
}

/// A command that does not run as root. Some servers refuse that.
fn unprivileged(program: &Path) -> Command {
    as_nobody(Command::new(program))
}

fn as_nobody(mut command: Command) -> Command {
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The path of a program that may stand in a folder for administrators alone.
fn program(name: &str) -> PathBuf {
    let folder = Path::new("/usr/sbin").join(name);
    if folder.exists() { folder } else { name.into() }
}

/// The path of a program of the newest PostgreSQL. Debian keeps them apart, in a folder for each version.
#[cfg(feature = "postgres")]
fn postgres_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).filter(|path| path.is_dir()).max_by_key(number);
    newest.map_or_else(|| name.into(), |folder| folder.join("bin").join(name))
}

fn run(mut command: Command) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run.sh installs it"));
    let [told, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{command:?} fails: {told} {errors}");
}

fn spawn(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run.sh installs it"))
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process")
}

/// What MariaDB carries out each time it starts: a statement on each line.
#[cfg(feature = "mysql")]
const MARIADB_START: &str = "CREATE DATABASE IF NOT EXISTS app;
CREATE USER IF NOT EXISTS app@'127.0.0.1';
GRANT ALL ON *.* TO app@'127.0.0.1';
";
