//! The addresses of hosts. All limiters and workers of a process share one lookup per host at a time.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use redis::{RedisError, RedisResult};

use crate::store::redis::transport::fetch::Fetched;

/// How many hosts are remembered. URLs name a few, but a cluster may name any number.
const MOST_HOSTS: usize = 1024;

type Addresses = Arc<[SocketAddr]>;

static HOSTS: LazyLock<Mutex<HashMap<String, Arc<Fetched<Addresses>>>>> = LazyLock::new(Mutex::default);

/// The addresses of a host. If the lookup fails or takes too long, its last addresses count.
pub(crate) async fn addresses(host: &str, port: u16) -> RedisResult<Vec<SocketAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_ascii_lowercase();
    let fetched = fetched(&host);
    let addresses = fetched.get(move || look_up(&host));
    let with_port = |address: &SocketAddr| {
        let mut address = *address;
        address.set_port(port);
        address
    };
    Ok(addresses.await?.iter().map(with_port).collect())
}

fn fetched(host: &str) -> Arc<Fetched<Addresses>> {
    let mut hosts = HOSTS.lock();
    if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
        hosts.retain(|_, fetched| fetched.is_running());
    }
    Arc::clone(hosts.entry(host.to_owned()).or_default())
}

/// Blocks.
fn look_up(host: &str) -> RedisResult<Addresses> {
    let failed = |error: io::Error| {
        RedisError::from(io::Error::new(error.kind(), format!("the lookup of `{host}` fails: {error}")))
    };
    let addresses: Addresses = (host, 0).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the host has no address")));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_hosts_is_remembered() {
        for number in 0..3 * MOST_HOSTS {
            fetched(&format!("{number}.test"));
            assert!(HOSTS.lock().len() <= MOST_HOSTS);
        }
    }
}
