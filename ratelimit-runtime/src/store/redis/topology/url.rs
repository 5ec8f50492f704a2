//! The URL of a store: it is read when the limiter is built, before anything is connected.
//!
//! No message repeats a part of the URL: after a mistake, any part may be a piece of a password.

use std::sync::Arc;

use crate::{
    error::Error,
    store::{
        host::{host_and_port, number, split},
        redis::{
            topology::{Topology, cluster::Cluster, sentinel::Sentinel},
            transport::{
                address::ServerAddress,
                connector::Connector,
                credentials::{CredentialSource, Credentials, Provider},
                endpoint::Endpoint,
                login::Login,
            },
        },
        url::{Scheme, Servers, StoreUrl, error, escapes::decode, parts::Parts},
    },
};

/// The settings that all servers of a URL share.
struct Common {
    connector: Arc<Connector>,
    /// The application's function for credentials, in place of those in the URL.
    provider: Option<Arc<Provider>>,
}

impl Common {
    fn server(
        &self,
        address: ServerAddress,
        credentials: Option<Credentials>,
        database: u32,
    ) -> Result<Endpoint, Error> {
        let source = match (credentials, &self.provider) {
            (Some(_), Some(_)) => {
                let reason =
                    "there is one here, and a function for `credentials` on the builder; leave one of them out";
                return Err(error("login", reason));
            }
            (None, Some(provider)) => CredentialSource::Application(Arc::clone(provider)),
            (credentials, None) => credentials.map_or(CredentialSource::None, CredentialSource::Url),
        };
        let login = Login { source, database };
        Ok(Endpoint { address, login, connector: Arc::clone(&self.connector) })
    }

    fn sentinel(&self, address: ServerAddress, credentials: Option<Credentials>) -> Endpoint {
        let login = Login { source: credentials.map_or(CredentialSource::None, CredentialSource::Url), database: 0 };
        Endpoint { address, login, connector: Arc::clone(&self.connector) }
    }
}

/// Reads a URL.
pub(crate) fn open(
    url: StoreUrl<'_>,
    connector: Connector,
    provider: Option<Arc<Provider>>,
) -> Result<Topology, Error> {
    let Scheme::Redis { tls, servers } = url.scheme else {
        return Err(error("scheme", "is not one of Redis"));
    };
    check_tls(tls)?;
    let (parts, common) = (Parts::of(url.rest)?, Common { connector: Arc::new(connector), provider });
    match servers {
        Servers::Host => server(&parts, tls, &common),
        Servers::Socket => socket(&parts, &common),
        Servers::Cluster => cluster(&parts, tls, &common),
        Servers::Sentinel => sentinel(&parts, tls, &common),
    }
}

fn check_tls(tls: bool) -> Result<(), Error> {
    if tls && !cfg!(feature = "rustls") {
        return Err(error("scheme", "TLS is the cargo feature `rustls` of ratelimit-runtime; switch it on"));
    }
    Ok(())
}

/// The addresses of several servers. `form` is the URL's form for error messages.
fn servers(parts: &Parts<'_>, tls: bool, port: u16, form: &str) -> Result<Vec<ServerAddress>, Error> {
    if parts.login.is_some_and(|login| login.contains(',')) {
        let reason = "stands once, before the first server; in a user or a password write %2C for `,`";
        return Err(error("login", reason));
    }
    if parts.hosts.split(',').any(str::is_empty) {
        return Err(error("host", format!("is missing; write {form}")));
    }
    parts.hosts.split(',').map(|server| address(server, tls, port)).collect()
}

/// `redis://user:password@host:port/database`
fn server(parts: &Parts<'_>, tls: bool, common: &Common) -> Result<Topology, Error> {
    const FORM: &str = "redis://user:password@host:port/database";
    parts.check_login()?;
    if parts.hosts.is_empty() {
        return Err(error("host", "is missing; write redis://127.0.0.1/"));
    }
    if parts.hosts.contains(',') {
        return Err(error("host", "there are several; write redis+cluster:// or redis+sentinel://"));
    }
    if parts.query.is_some_and(|query| !query.is_empty()) {
        return Err(error("query", format!("there are no options; write {FORM}")));
    }
    let address = address(parts.hosts, tls, 6379)?;
    let server = common.server(address, login(parts)?, database(parts.path.trim_matches('/'))?)?;
    Ok(Topology::Server(Box::new(server)))
}

/// `redis+unix:///path?db=database&user=user&pass=password`
fn socket(parts: &Parts<'_>, common: &Common) -> Result<Topology, Error> {
    if !cfg!(unix) {
        return Err(error("scheme", "there are no Unix sockets on this system; write redis://host:port"));
    }
    if parts.login.is_some() {
        return Err(error("login", "that of a Unix socket is in the query; write ?user=…&pass=…"));
    }
    // A password that begins with a slash would be taken for a path, and shown.
    if parts.path.contains('@') {
        return Err(error("path", "has an `@`; write %40 for it, and a login as ?user=…&pass=…"));
    }
    let path = decode("path", parts.path)?;
    if !parts.hosts.is_empty() || path.trim_matches('/').is_empty() {
        return Err(error("path", "is missing; write redis+unix:///path/of/the/socket, with three slashes"));
    }
    let (mut number, mut user, mut password) = (0, None, None);
    for (name, value) in parts.options(&["db", "user", "pass"])? {
        match name {
            "db" => number = database(&value)?,
            "user" => user = Some(value),
            _ => password = Some(value),
        }
    }
    let address = ServerAddress::Unix(format!("/{path}").into());
    Ok(Topology::Server(Box::new(common.server(address, credentials(user, password)?, number)?)))
}

/// `redis+cluster://user:password@host:port,host:port`
fn cluster(parts: &Parts<'_>, tls: bool, common: &Common) -> Result<Topology, Error> {
    const FORM: &str = "redis+cluster://host:port,host:port";
    parts.check_login()?;
    if !matches!(parts.path.trim_matches('/'), "" | "0") {
        return Err(error("database", format!("a cluster has one, which has no number; write {FORM}")));
    }
    if parts.query.is_some_and(|query| !query.is_empty()) {
        return Err(error("query", format!("a cluster has no options; write {FORM}")));
    }
    let (seeds, credentials) = (servers(parts, tls, 6379, FORM)?.into_iter(), login(parts)?);
    let seeds = seeds.map(|address| common.server(address, credentials.clone(), 0)).collect::<Result<_, _>>()?;
    Ok(Topology::Cluster(Arc::new(Cluster::new(seeds))))
}

/// `redis+sentinel://user:password@host:port,host:port/service/database?sentinel_user=…`: the login is that of the servers.
fn sentinel(parts: &Parts<'_>, tls: bool, common: &Common) -> Result<Topology, Error> {
    const FORM: &str = "redis+sentinel://host:port,host:port/service";
    parts.check_login()?;
    let (mut user, mut password, mut sentinel_tls) = (None, None, tls);
    for (name, value) in parts.options(&["sentinel_user", "sentinel_password", "sentinel_tls"])? {
        match (name, &*value) {
            ("sentinel_user", _) => user = Some(value),
            ("sentinel_password", _) => password = Some(value),
            (_, "true") => sentinel_tls = true,
            (_, "false") => sentinel_tls = false,
            _ => return Err(error("query", "`sentinel_tls` is neither `true` nor `false`")),
        }
    }
    check_tls(sentinel_tls)?;
    let addresses = servers(parts, sentinel_tls, 26379, FORM)?;
    let (service, number) = split(parts.path.trim_end_matches('/'), '/');
    let service = decode("service name", service)?;
    if service.is_empty() {
        return Err(error("service name", format!("is missing; write {FORM}")));
    }
    // The sentinels know the address.
    let address = ServerAddress::Tcp { host: String::new(), port: 0, tls };
    let server = common.server(address, login(parts)?, database(number.unwrap_or_default())?)?;
    let login = credentials(user, password)?;
    let sentinels = addresses.into_iter().map(|address| common.sentinel(address, login.clone())).collect();
    Ok(Topology::Sentinel(Arc::new(Sentinel::new(sentinels, service, server))))
}

/// The login before the servers.
fn login(parts: &Parts<'_>) -> Result<Option<Credentials>, Error> {
    let (user, password) = parts.user_and_password()?;
    credentials(user, password)
}

/// Credentials from a URL. A template without values leaves both texts empty, which means none.
fn credentials(user: Option<String>, password: Option<String>) -> Result<Option<Credentials>, Error> {
    match (user.filter(|user| !user.is_empty()), password) {
        (None, password) => Ok(password.filter(|password| !password.is_empty()).map(Credentials::password)),
        (Some(user), Some(password)) => Ok(Some(Credentials::new(user, password))),
        (Some(_), None) => Err(error("login", "has a user and no password; write :password@ for a password alone")),
    }
}

fn address(text: &str, tls: bool, default_port: u16) -> Result<ServerAddress, Error> {
    let (host, port) = host_and_port(text, default_port)?;
    Ok(ServerAddress::Tcp { host: host.to_owned(), port, tls })
}

fn database(text: &str) -> Result<u32, Error> {
    match text {
        "" => Ok(0),
        _ => number(text).ok_or_else(|| error("database", "is not a number; write /0 behind the port, or nothing")),
    }
}
