//! PostgreSQL and MariaDB: how they are made, started and asked.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::getuid;

use crate::sql_client::SqlClient;

/// The user under whom servers run that refuse to run as root: `nobody`.
pub(crate) const NOBODY: u32 = 65_534;

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

    pub(crate) fn administrator(self) -> &'static str {
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

    pub(crate) fn client(self, port: u16, user: &str) -> SqlClient {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => SqlClient::psql(port, user),
            #[cfg(feature = "mysql")]
            Self::MariaDb => {
                let options = ["--no-defaults", "-NBn", "-h", "127.0.0.1", "-P", &port.to_string(), "-u", user, "app"];
                SqlClient::new("mariadb", &options)
            }
        }
    }

    /// The command that makes a folder of data.
    pub(crate) fn initialize(self, data: &Path) -> Command {
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
    pub(crate) fn server(self, data: &Path, port: u16, further: &[String]) -> Command {
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
                command.arg(format!("--init-file={}", data.with_file_name("start.sql").display()));
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

/// A command that does not run as root. Some servers refuse that.
pub(crate) fn unprivileged(program: &Path) -> Command {
    as_nobody(Command::new(program))
}

/// Has a command run as nobody if this is root.
pub(crate) fn as_nobody(mut command: Command) -> Command {
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The path of a program that may stand in a folder for administrators alone.
#[cfg(feature = "mysql")]
fn program(name: &str) -> PathBuf {
    let folder = Path::new("/usr/sbin").join(name);
    if folder.exists() { folder } else { name.into() }
}

/// The path of a program of the newest PostgreSQL. Debian keeps them apart, in a folder for each version.
#[cfg(feature = "postgres")]
pub(crate) fn postgres_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).filter(|path| path.is_dir()).max_by_key(number);
    newest.map_or_else(|| name.into(), |folder| folder.join("bin").join(name))
}

/// What MariaDB carries out each time it starts: a statement on each line.
#[cfg(feature = "mysql")]
const MARIADB_START: &str = "CREATE DATABASE IF NOT EXISTS app;
CREATE USER IF NOT EXISTS app@'127.0.0.1';
GRANT ALL ON *.* TO app@'127.0.0.1';
";
