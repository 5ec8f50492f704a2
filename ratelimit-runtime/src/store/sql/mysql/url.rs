//! The URL of MariaDB and MySQL: `mysql://user:password@host:port/database?ssl-mode=…`.

use sqlx::{
    ConnectOptions,
    mysql::{MySqlConnectOptions, MySqlSslMode},
};

use crate::{
    error::Error,
    store::{
        host::{host_and_port, with_port},
        sql::options::{check_tls, database},
        url::{error, parts::Parts},
    },
};

const FORM: &str = "mysql://user:password@host:port/database";
const PORT: u16 = 3306;

/// Reads what follows the scheme. Returns the options, and the name of the store without secrets.
pub(super) fn read(rest: &str) -> Result<(MySqlConnectOptions, String), Error> {
    let parts = Parts::of(rest)?;
    parts.check_login()?;
    let mut options = MySqlConnectOptions::new().disable_statement_logging();
    if let (Some(user), password) = parts.user_and_password()? {
        options = options.username(&user);
        if let Some(password) = password {
            options = options.password(&password);
        }
    }
    let database = database(&parts, FORM)?;
    options = options.database(&database);
    let mut socket = None;
    for (name, value) in parts.options(&["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"])? {
        options = match name {
            "ssl-mode" => options.ssl_mode(ssl_mode(&value)?),
            "ssl-ca" => options.ssl_ca(value),
            "ssl-cert" => options.ssl_client_cert(value),
            "ssl-key" => options.ssl_client_key(value),
            _ if value.starts_with('/') => {
                socket = Some(value.clone());
                options.socket(value)
            }
            _ => return Err(error("query", "`socket` is the path of a Unix socket, from its `/`")),
        };
    }
    let (options, server) = match socket {
        Some(path) if parts.hosts.is_empty() => (options, path),
        Some(_) => return Err(error("host", "there is a host, and a Unix socket in the query; leave one of them out")),
        None => {
            let (host, port) = host_and_port(parts.hosts, PORT)?;
            (options.host(host).port(port), with_port(host, port))
        }
    };
    Ok((options, format!("mysql://{server}/{database}")))
}

fn ssl_mode(text: &str) -> Result<MySqlSslMode, Error> {
    let mode = text.to_ascii_uppercase().parse().map_err(|_| {
        error("query", "`ssl-mode` is none of `disabled`, `preferred`, `required`, `verify_ca`, `verify_identity`")
    })?;
    check_tls(matches!(mode, MySqlSslMode::Required | MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity))?;
    Ok(mode)
}
