//! Real PostgreSQL and MariaDB servers that a test starts, breaks and ends.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::certificates::{CERTIFICATE, KEY};
use crate::ports::free_port;
use crate::sql_client::SqlClient;
use crate::sql_database::NOBODY;
pub use crate::sql_database::Sql;
#[cfg(feature = "postgres")]
use crate::sql_database::{as_nobody, postgres_program, unprivileged};
use crate::wait;

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
        Self::changed(sql, further, |_| Vec::new(), change)
    }

    /// `prepare` returns further options for the folder of the data.
    fn prepared(sql: Sql, further: &[&str], prepare: impl FnOnce(&Path) -> Vec<String>) -> Self {
        Self::changed(sql, further, prepare, |server| server)
    }

    fn changed(
        sql: Sql,
        further: &[&str],
        prepare: impl FnOnce(&Path) -> Vec<String>,
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        let (folder, data) = new_folder();
        let mut further: Vec<String> = further.iter().map(ToString::to_string).collect();
        run(sql.initialize(&data));
        further.extend(prepare(&data));
        let port = free_port();
        let process = spawn(change(sql.server(&data, port, &further)));
        let server = Self { sql, process, port, folder, further };
        server.wait();
        server
    }

    /// Starts one with the certificate of the tests.
    pub fn with_tls(sql: Sql) -> Self {
        Self::prepared(sql, &[], |data| {
            for (from, to) in [(CERTIFICATE, "certificate.pem"), (KEY, "key.pem")] {
                let file = data.join(to);
                fs::copy(from, &file).expect("a folder of ours");
                // PostgreSQL takes no key that others can read.
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file of ours");
                if getuid().is_root() {
                    chown(&file, Some(NOBODY), Some(NOBODY)).expect("root may do this");
                }
            }
            match sql {
                #[cfg(feature = "postgres")]
                Sql::Postgres => ["ssl=on", "ssl_cert_file=certificate.pem", "ssl_key_file=key.pem"]
                    .iter()
                    .flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()])
                    .collect(),
                #[cfg(feature = "mysql")]
                Sql::MariaDb => {
                    let path = |name| data.join(name).display().to_string();
                    vec![format!("--ssl-cert={}", path("certificate.pem")), format!("--ssl-key={}", path("key.pem"))]
                }
            }
        })
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
        self.client_of(self.sql.administrator())
    }

    /// The client of another user.
    pub fn client_of(&self, user: &str) -> SqlClient {
        self.sql.client(self.port, user)
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
