//! Names of counters, and the addresses of clients.

mod client_ip;
#[cfg(feature = "redis")]
mod digest;
mod embedded_addresses;
mod single_address;
