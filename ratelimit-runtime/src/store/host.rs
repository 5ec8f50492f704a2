//! The host and the port of a server in a URL.

use std::net::{IpAddr, Ipv6Addr};

use crate::{error::Error, store::url::error};

/// Reads a host and a port, as in `[::1]:6379`. Without a port, it is the default.
pub(crate) fn host_and_port(text: &str, default_port: u16) -> Result<(&str, u16), Error> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| error("host", "there is a `[` without a `]`"))?;
            host.parse::<Ipv6Addr>().map_err(|_| error("host", "what stands in brackets is no IPv6 address"))?;
            let port = (!rest.is_empty()).then(|| rest.strip_prefix(':'));
            (host, port.map(|port| port.ok_or_else(|| error("port", "a `:` is missing before it"))).transpose()?)
        }
        None => {
            let (host, port) = split(text, ':');
            if port.is_some_and(|port| port.contains(':')) {
                return Err(error("host", "has several colons; an IPv6 address stands in brackets: [::1]:port"));
            }
            (host, port)
        }
    };
    let is_host = |char: char| char.is_ascii_alphanumeric() || ".-_:".contains(char);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(error("host", "has a character that no host name has, or is empty; write host:port"));
    }
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return Err(error("host", "the unspecified address is none to connect to; write 127.0.0.1 or [::1]"));
    }
    let port = match port {
        None => default_port,
        Some(port) => {
            number(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).ok_or_else(|| {
                error(
                    "port",
                    "is no number from 1 to 65535; write host:port; a login, if there is one, ends with an `@`",
                )
            })?
        }
    };
    Ok((host, port))
}

/// Writes a host and a port, with an IPv6 address in brackets.
#[cfg(any(feature = "memcached", feature = "mysql", feature = "postgres"))]
pub(crate) fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Reads digits, without a sign.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Splits a text at the first such character.
pub(crate) fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}
