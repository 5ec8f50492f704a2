//! The URL of PostgreSQL: `postgres://user:password@host:port/database?sslmode=…`.

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    error::Error,
    store::{
        host::{host_and_port, number},
        sql::options::{check_tls, database},
        url::{error, parts::Parts},
    },
};

const FORM: &str = "postgres://user:password@host:port/database";
const PORT: u16 = 5432;

/// Reads what follows the scheme. Returns the options, and the name of the store without secrets.
pub(super) fn read(rest: &str) -> Result<(PgConnectOptions, String), Error> {
    let parts = Parts::of(rest)?;
    parts.check_login()?;
    let mut options = PgConnectOptions::new().application_name("ratelimit-runtime").disable_statement_logging();
    if let (Some(user), password) = parts.user_and_password()? {
        options = options.username(&user);
        if let Some(password) = password {
            options = options.password(&password);
        }
    }
    let database = database(&parts, FORM)?;
    options = options.database(&database);
    let mut socket = None;
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
                options.statement_cache_capacity(capacity.ok_or_else(is_wrong)?)
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
            let server = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            (options.host(host).port(port), server)
        }
    };
    Ok((options, format!("postgres://{server}/{database}")))
}

fn ssl_mode(text: &str) -> Result<PgSslMode, Error> {
    let mode = text.parse().map_err(|_| {
        error("query", "`sslmode` is none of `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`")
    })?;
    check_tls(matches!(mode, PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull))?;
    Ok(mode)
}
