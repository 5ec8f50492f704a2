//! How a server is reached: its address, TCP, TLS or a Unix socket, and the login. Nothing here knows of limits.

pub(crate) mod address;
#[cfg(feature = "rustls")]
mod certificates;
pub(crate) mod credentials;
pub(crate) mod endpoint;
mod fetch;
pub(crate) mod login;
pub(crate) mod progress;
mod resolver;
pub(crate) mod stream;
#[cfg(feature = "rustls")]
pub(crate) mod tls;
#[cfg(feature = "rustls")]
pub(crate) mod tls_options;
