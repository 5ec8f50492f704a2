//! The URL of Memcached: `memcached://host:port[,host:port…]`.

use crate::error::Error;

const PORT: u16 = 11_211;

/// The addresses of the servers, each with its port. A URL with a mistake is not repeated: nobody knows whether it holds a secret.
pub(super) fn servers(rest: &str) -> Result<Vec<String>, Error> {
    let error = |part, reason: &str| Err(Error::Url { part, reason: reason.to_owned() });
    let hosts = rest.strip_suffix('/').unwrap_or(rest);
    if hosts.contains('@') {
        return error("login", "Memcached's protocol has none; write memcached://host:port");
    }
    if hosts.contains(['/', '?', '#']) {
        return error("path", "there is none; write memcached://host:port[,host:port…]");
    }
    let mut servers: Vec<String> = Vec::new();
    for server in hosts.split(',') {
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !server.ends_with(']') => match port.parse::<u16>() {
                Ok(port @ 1..) => (host, port),
                _ => return error("port", "is no number from 1 to 65535"),
            },
            _ => (server, PORT),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        if host.is_empty() || host.contains(char::is_whitespace) || host.contains(['[', ']', ':']) && !is_bracketed {
            return error("host", "is missing or no name or address; an IPv6 address stands in brackets");
        }
        let server = format!("{host}:{port}");
        if servers.contains(&server) {
            return error("host", "a server is named twice");
        }
        servers.push(server);
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_host_and_a_port() {
        let read = |rest: &str| servers(rest).map_err(|error| error.to_string());
        let expected = |servers: &[&str]| Ok(servers.iter().map(ToString::to_string).collect());
        assert_eq!(read("localhost"), expected(&["localhost:11211"]));
        assert_eq!(read("a:1,b:2/"), expected(&["a:1", "b:2"]));
        assert_eq!(read("[::1]:7,[::1]"), expected(&["[::1]:7", "[::1]:11211"]));
        for rest in
            ["", ":1", "a:", "a:0", "a:65536", "a,,b", "a:1,a:1", "::1", "a/0", "a?b", "user:secret@a", "a b", "[]"]
        {
            let error = read(rest).err().unwrap_or_default();
            assert!(error.starts_with("store URL: ") && !error.contains("secret"), "{rest}: {error}");
        }
    }
}
