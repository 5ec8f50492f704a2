//! The URL of Memcached: `memcached://host:port[,host:port…]`.

use crate::{
    error::Error,
    store::{
        host::{host_and_port, with_port},
        url::error,
    },
};

const PORT: u16 = 11_211;

/// The addresses of the servers, each with its port.
pub(super) fn servers(rest: &str) -> Result<Vec<String>, Error> {
    let hosts = rest.strip_suffix('/').unwrap_or(rest);
    if hosts.contains('@') {
        return Err(error("login", "Memcached's protocol has none; write memcached://host:port"));
    }
    if hosts.contains(['/', '?', '#']) {
        return Err(error("path", "there is none; write memcached://host:port[,host:port…]"));
    }
    let mut servers: Vec<String> = Vec::new();
    for server in hosts.split(',') {
        let (host, port) = host_and_port(server, PORT)?;
        let server = with_port(host, port);
        if servers.contains(&server) {
            return Err(error("host", "a server is named twice"));
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
        for rest in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a,,b",
            "a:1,a:1",
            "::1",
            "a/0",
            "a?b",
            "user:secret@a",
            "a b",
            "[]",
            "0.0.0.0",
            "a\u{e9}",
        ] {
            let error = read(rest).err().unwrap_or_default();
            assert!(error.starts_with("store URL: ") && !error.contains("secret"), "{rest}: {error}");
        }
    }
}
