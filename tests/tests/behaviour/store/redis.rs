//! The store in Redis: its keys, its connections, and its topologies.

mod algorithms;
mod answers;
mod cluster;
mod cluster_map;
mod cluster_moves;
mod connections;
mod credentials;
mod keys;
mod leases;
mod memory;
mod ping;
mod prefix;
mod refusal_log;
mod refusals;
#[cfg(target_os = "linux")]
mod resolver;
mod script;
mod sentinel;
mod sentinel_choice;
mod store;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "rustls")]
mod tls_settings;
mod url;
mod windows;
