//! What the examples have in common: where they listen, and what they print first.

use std::net::SocketAddr;

/// The address to bind: 127.0.0.1, and the port in the environment variable `PORT`, or else 8080.
#[must_use]
pub fn address() -> (&'static str, u16) {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok());
    ("127.0.0.1", port.unwrap_or(8080))
}

/// Says where the server listens, and what to ask it: lines in which `{}` stands for the address.
pub fn announce(addresses: &[SocketAddr], lines: &[&str]) {
    // Also that a store is back is a warning, so that whoever read of its failure reads that too.
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("warn"));
    if let Some(address) = addresses.first() {
        println!("listening on http://{address}");
        for line in lines {
            println!("try: {}", line.replace("{}", &address.to_string()));
        }
    }
}
