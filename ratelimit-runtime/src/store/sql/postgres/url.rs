//! The URL of PostgreSQL: `postgres://user:password@host:port/database?sslmode=…`.

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    error::Error,
    store::{
        host::{host_and_port, number, with_port},
        sql::options::{check_tls, database},
        url::{error, parts::Parts},
    },
};

const FORM: &str = "postgres://user:password@host:port/database";
const PORT: u16 = 5432;

/// What a URL says.
pub(super) struct PostgresUrl {
    pub(super) options: PgConnectOptions,
    /// The name of the store, without secrets.
    pub(super) name: String,
    /// Whether the server is behind PgBouncer, as far as that shows: a pool of transactions keeps no prepared statements.
    pub(super) is_pooled: bool,
}

/// Reads what follows the scheme.
pub(super) fn read(rest: &str) -> Result<PostgresUrl, Error> {
    let parts = Parts::of(rest)?;
    parts.check_login()?;
    let mut options =
        PgConnectOptions::new_without_pgpass().application_name("ratelimit-runtime").disable_statement_logging();
    if let (Some(user), password) = parts.user_and_password()? {
        options = options.username(&user);
        if let Some(password) = password {
            options = options.password(&password);
        }
    }
    let database = database(&parts, FORM)?;
    options = options.database(&database);
    let (mut socket, mut is_pooled) = (None, false);
    for (name, value) in parts.options(&[
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "host",
        "application_name",
        "statement_cache_capacity",
    ])? {
        options = match name {
            "sslmode" => options.ssl_mode(ssl_mode(&value)?),
            "sslrootcert" => options.ssl_root_cert(value),
            "sslcert" => options.ssl_client_cert(value),
            "sslkey" => options.ssl_client_key(value),
            "application_name" => options.application_name(&value),
            "statement_cache_capacity" => {
                let capacity = number(&value).and_then(|capacity| usize::try_from(capacity).ok());
                let is_wrong = || error("query", "`statement_cache_capacity` is no number");
                let capacity = capacity.ok_or_else(is_wrong)?;
                is_pooled = capacity == 0;
                options.statement_cache_capacity(capacity)
            }
            _ if value.starts_with('/') => {
                socket = Some(value.clone());
                options.socket(value)
            }
            _ => return Err(error("query", "`host` is the folder of a Unix socket, from its `/`")),
        };
    }
    let (options, server) = match socket {
        Some(folder) if parts.hosts.is_empty() => (options.port(PORT), folder),
        Some(_) => return Err(error("host", "there is a host, and a Unix socket in the query; leave one of them out")),
        None => {
            let (host, port) = host_and_port(parts.hosts, PORT)?;
            (options.host(host).port(port), with_port(host, port))
        }
    };
    Ok(PostgresUrl { options, name: format!("postgres://{server}/{database}"), is_pooled })
}

fn ssl_mode(text: &str) -> Result<PgSslMode, Error> {
    let mode = text.parse().map_err(|_| {
        error("query", "`sslmode` is none of `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`")
    })?;
    check_tls(matches!(mode, PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull))?;
    Ok(mode)
}
