//! The URL of a store: read when the limiter is set up, before anything is connected.

use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::{
    cluster::Cluster,
    credentials::{Credentials, Login},
    endpoint::{Address, Endpoint},
    sentinel::Sentinel,
    stream::Transport,
};
use crate::error::Error;

/// How the servers of a store belong together.
pub(super) enum Deployment {
    Server(Box<Endpoint>),
    Sentinel(Arc<Sentinel>),
    Cluster(Arc<Cluster>),
}

/// Reads a URL, and says where it leads, without credentials.
pub(super) fn open(url: &str) -> Result<(Deployment, String), Error> {
    let transport = Arc::new(Transport::default());
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match scheme.split_once('+') {
        Some((tls @ ("redis" | "rediss" | "valkey" | "valkeys"), "cluster")) => {
            let parts = Parts::of(rest);
            if !matches!(parts.path, "" | "0") {
                return Err(error(
                    "database",
                    "a cluster has one, which has no number: write nothing behind the servers",
                ));
            }
            if !parts.query.is_empty() {
                return Err(error("query", "a cluster has no options: write nothing behind the servers"));
            }
            let seeds = parts.servers(tls, "cluster", 6379, "", &transport)?;
            let addresses: Vec<_> = seeds.iter().map(|seed| seed.address.to_string()).collect();
            let name = format!("cluster of {}", addresses.join(", "));
            Ok((Deployment::Cluster(Arc::new(Cluster { seeds })), name))
        }
        Some((tls @ ("redis" | "rediss" | "valkey" | "valkeys"), "sentinel")) => {
            let sentinel = sentinel(tls, &Parts::of(rest), &transport)?;
            let name = sentinel.name();
            Ok((Deployment::Sentinel(Arc::new(sentinel)), name))
        }
        _ => {
            let server = server(url, &transport)?;
            let name = server.address.to_string();
            Ok((Deployment::Server(Box::new(server)), name))
        }
    }
}

/// A URL that may name several servers, which a URL proper may not.
struct Parts<'a> {
    /// `user:password@`, or nothing.
    login: &'a str,
    servers: &'a str,
    path: &'a str,
    /// `?…`, or nothing.
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (rest, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, servers) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Self { login, servers, path, query }
    }

    /// Each server, as if it stood in a URL by itself, with the database.
    fn servers(
        &self,
        scheme: &str,
        kind: &str,
        port: u16,
        database: &str,
        transport: &Arc<Transport>,
    ) -> Result<Vec<Endpoint>, Error> {
        let login = self.login;
        let url = |host: &str| match host.ends_with(']') || !host.contains(':') {
            true => format!("{scheme}://{login}{host}:{port}/{database}"),
            false => format!("{scheme}://{login}{host}/{database}"),
        };
        if self.servers.split(',').any(str::is_empty) {
            return Err(error("host", format!("is missing; write {scheme}+{kind}://host:port,host:port")));
        }
        self.servers.split(',').map(|host| server(&url(host), transport)).collect()
    }
}

/// The service, its servers and its sentinels, each with a login of their own.
fn sentinel(scheme: &str, parts: &Parts<'_>, transport: &Arc<Transport>) -> Result<Sentinel, Error> {
    let (service, database) = parts.path.trim_end_matches('/').split_once('/').unwrap_or((parts.path, ""));
    let service = service.trim_end_matches('/');
    let servers = parts.servers(scheme, "sentinel", 26379, database, transport)?;
    if service.is_empty() {
        let form = format!("{scheme}+sentinel://host:port,host:port/service");
        return Err(error("service name", format!("is missing; write {form}")));
    }
    let query = url::form_urlencoded::parse(parts.query.trim_start_matches('?').as_bytes());
    let (mut user, mut password) = (None, None);
    for (name, value) in query {
        match &*name {
            "sentinel_user" => user = Some(value),
            "sentinel_password" => password = Some(value),
            _ => {
                let name = name.escape_debug();
                let reason = format!("`{name}` is neither `sentinel_user` nor `sentinel_password`");
                return Err(error("query", reason));
            }
        }
    }
    let sentinels = servers.iter().map(|server| {
        let user = user.as_deref().map(str::to_owned);
        let credentials = password.as_deref().map(|password| Credentials::new(user, password.to_owned()));
        Endpoint { login: Login { credentials, database: 0 }, ..server.clone() }
    });
    let sentinels = sentinels.collect();
    let server = servers.into_iter().next();
    let server = server.ok_or_else(|| error("host", "is missing"))?;
    Ok(Sentinel::new(sentinels, service.to_owned(), server))
}

fn error(part: &'static str, reason: impl Into<String>) -> Error {
    Error::Url { part, reason: reason.into() }
}

/// Reads the URL of one server.
fn server(url: &str, transport: &Arc<Transport>) -> Result<Endpoint, Error> {
    let error = |part, reason: String| Err(error(part, reason));
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(reason @ url::ParseError::InvalidPort) => return error("port", reason.to_string()),
        Err(
            reason @ (url::ParseError::EmptyHost
            | url::ParseError::IdnaError
            | url::ParseError::InvalidIpv4Address
            | url::ParseError::InvalidIpv6Address
            | url::ParseError::InvalidDomainCharacter),
        ) => return error("host", reason.to_string()),
        Err(reason) => return error("syntax", format!("{reason}; write redis://host:port/database")),
    };
    let over_tcp = !parsed.scheme().ends_with("unix");
    if over_tcp && parsed.host_str().is_none_or(str::is_empty) {
        return error("host", format!("is missing; write {}://127.0.0.1/", parsed.scheme()));
    }
    if !over_tcp
        && (parsed.host_str().is_some_and(|host| !host.is_empty()) || parsed.path().trim_matches('/').is_empty())
    {
        return error(
            "path",
            format!("is missing; write {}:///path/of/the/socket, with three slashes", parsed.scheme()),
        );
    }
    let options: &[&str] = if over_tcp { &[] } else { &["db", "user", "pass"] };
    if let Some((name, _)) = parsed.query_pairs().find(|(name, _)| !options.contains(&&**name)) {
        let form = match over_tcp {
            true => "there is none; write redis://user:password@host:port/database",
            false => "there are `db`, `user` and `pass`",
        };
        return error("query", format!("`{}` is no option: {form}", name.escape_debug()));
    }
    let database = parsed.path().trim_matches('/');
    if over_tcp && !database.is_empty() && database.parse::<u32>().is_err() {
        return error("database", format!("`{}` is not a number", database.escape_debug()));
    }
    if matches!(parsed.scheme(), "rediss" | "valkeys") {
        #[cfg(not(feature = "rustls"))]
        return error("scheme", "TLS is the cargo feature `rustls` of ratelimit-runtime; switch it on".into());
        #[cfg(feature = "rustls")]
        provide_cryptography();
    }
    let info = match parsed.into_connection_info() {
        Ok(info) => info,
        Err(reason) => return error("path or query", reason.to_string()),
    };
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port, tls: false },
        ConnectionAddr::TcpTls { host, port, .. } => Address::Tcp { host: host.clone(), port: *port, tls: true },
        ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
        _ => return error("scheme", "is unknown".into()),
    };
    let login = info.redis_settings();
    let user = login.username().map(str::to_owned);
    let credentials = login.password().map(|password| Credentials::new(user, password.to_owned()));
    let login = Login { credentials, database: u32::try_from(login.db()).unwrap_or_default() };
    Ok(Endpoint { address, login, transport: Arc::clone(transport) })
}

/// An application that uses rustls itself has chosen a provider of cryptography for the process; another has none, and
/// rustls does not go without.
#[cfg(feature = "rustls")]
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Refused only if another thread has chosen one meanwhile.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}
