//! The transport: streams to servers, over TCP, TLS and Unix sockets, and the login on them.
//!
//! It knows nothing of rate limits.

pub(crate) mod address;
#[cfg(feature = "rustls")]
pub(crate) mod certificates;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod fetch;
pub(crate) mod login;
pub(crate) mod patience;
pub(crate) mod progress;
pub(crate) mod resolver;
pub(crate) mod stream;
#[cfg(feature = "rustls")]
pub(crate) mod tls;
#[cfg(feature = "rustls")]
pub(crate) mod tls_options;
