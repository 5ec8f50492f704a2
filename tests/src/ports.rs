//! Ports for the servers that tests start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The distance from a Redis server's port to the port of its cluster bus.
const BUS: u16 = 10_000;

/// A free port below the ports that the system assigns by itself. So no connection of another test gets the port of a
/// server that is down. The port of the cluster bus is free, too, and is no other server's port.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(BUS)).unwrap_or_default();
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % BUS;
        if [port, port + BUS].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}
