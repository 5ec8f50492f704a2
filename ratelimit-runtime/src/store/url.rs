//! The URL of a store, as far as it is the same for all stores: its scheme.
//!
//! A URL may hold a password, and in one with a mistake nobody knows where. So no message repeats a part of it.

#[cfg(any(feature = "redis", feature = "_sql"))]
pub(crate) mod escapes;
#[cfg(any(feature = "redis", feature = "mysql", feature = "postgres"))]
pub(crate) mod parts;

use crate::error::Error;

/// A URL whose scheme is known.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "without it, a URL of Redis is an error"))]
pub(crate) struct StoreUrl<'a> {
    pub(crate) scheme: Scheme,
    /// What follows `://`.
    pub(crate) rest: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "without it, a URL of Redis is an error"))]
pub(crate) enum Scheme {
    Memory,
    Memcached,
    MySql,
    Postgres,
    Sqlite,
    Redis { tls: bool, servers: Servers },
}

/// How the servers of a store are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// One, at a host and a port.
    Host,
    /// One, at a Unix socket.
    Socket,
    Cluster,
    Sentinel,
}

impl<'a> StoreUrl<'a> {
    /// Reads a URL as people copy it: with blanks and newlines around it, and in capitals.
    pub(crate) fn read(url: &'a str) -> Result<Self, Error> {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(error("scheme", "is missing; write redis://host:port/database, or memory://"));
        };
        let known = Scheme::of(&scheme.to_ascii_lowercase());
        known.map(|scheme| Self { scheme, rest }).ok_or_else(|| unknown(scheme, url))
    }
}

impl Scheme {
    fn of(text: &str) -> Option<Self> {
        let (base, servers) = match text.split_once('+') {
            Some((base, "cluster")) => (base, Servers::Cluster),
            Some((base, "sentinel")) => (base, Servers::Sentinel),
            Some((base @ ("redis" | "valkey"), "unix")) => (base, Servers::Socket),
            Some(_) => return None,
            None => (text, Servers::Host),
        };
        match base {
            "memory" => (servers == Servers::Host).then_some(Self::Memory),
            "memcached" => (servers == Servers::Host).then_some(Self::Memcached),
            "mysql" | "mariadb" => (servers == Servers::Host).then_some(Self::MySql),
            "postgres" | "postgresql" => (servers == Servers::Host).then_some(Self::Postgres),
            "sqlite" => (servers == Servers::Host).then_some(Self::Sqlite),
            "unix" => (servers == Servers::Host).then_some(Self::Redis { tls: false, servers: Servers::Socket }),
            "redis" | "valkey" => Some(Self::Redis { tls: false, servers }),
            "rediss" | "valkeys" => Some(Self::Redis { tls: true, servers }),
            _ => None,
        }
    }
}

fn unknown(scheme: &str, url: &str) -> Error {
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    // A login without a scheme may look like one.
    let is_told = !scheme.is_empty() && scheme.len() <= 20 && scheme.bytes().all(is_scheme) && !url.contains('@');
    let subject = if is_told { format!("`{scheme}`") } else { "it".to_owned() };
    let known = "memory://, memcached://, mysql://, postgres://, sqlite://, redis://, rediss://, redis+unix://, unix://, redis+cluster://, redis+sentinel://";
    error("scheme", format!("{subject} is none of {known}"))
}

/// The error of a part of the URL.
pub(crate) fn error(part: &'static str, reason: impl Into<String>) -> Error {
    Error::Url { part, reason: reason.into() }
}
