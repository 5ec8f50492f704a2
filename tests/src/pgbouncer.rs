//! A real PgBouncer before a PostgreSQL server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::ports::free_port;
use crate::sql_client::SqlClient;
use crate::sql_database::as_nobody;
use crate::sql_server::SqlServer;
use crate::wait;

/// A pool of transactions with one connection to the server. It ends when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one that knows nothing of prepared statements.
    pub fn before(server: &SqlServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an owned folder");
        let (port, settings) = (free_port(), folder.path().join("settings.ini"));
        let (host, server_port) = (server.address(), server.address());
        let (host, server_port) =
            (host.split(':').next().expect("a host"), server_port.split(':').next_back().expect("a port"));
        let text = format!(
            "[databases]\npostgres = host={host} port={server_port} dbname=postgres user=app\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = 1\nmax_prepared_statements = 0\nignore_startup_parameters = extra_float_digits\n"
        );
        // Older ones do not know the setting, and know nothing of prepared statements either.
        let text = if knows_prepared_statements() { text } else { text.replace("max_prepared_statements = 0\n", "") };
        fs::write(&settings, text).expect("a folder of ours");
        let mut command = as_nobody(Command::new("/usr/sbin/pgbouncer"));
        command.arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("pgbouncer does not start ({error}); tests/run.sh installs it, or: apt-get install pgbouncer")
        });
        let pool = Self { process, port, _folder: folder };
        let client = pool.client();
        wait::until("the pool serves", || client.is_served());
        pool
    }

    /// The URL of the store behind the pool.
    pub fn url(&self) -> String {
        format!("postgres://app@127.0.0.1:{}/postgres?statement_cache_capacity=0", self.port)
    }

    /// The client of an administrator, on the pool's one connection.
    pub fn client(&self) -> SqlClient {
        SqlClient::psql(self.port, "app")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // On an error, the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether it is 1.21 or later.
fn knows_prepared_statements() -> bool {
    let output = Command::new("/usr/sbin/pgbouncer").arg("--version").output().expect("pgbouncer");
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let minor = version.split(['.', ' ']).nth(2).and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 21)
}
