//! What can be wrong with a set-up.

use std::fmt;

/// A set-up that cannot work, with what to do about it. Never the answer to a request.
///
/// ```
/// use ratelimit_runtime::RateLimiter;
///
/// let error = RateLimiter::connect("http://127.0.0.1/").unwrap_err();
/// assert!(error.to_string().starts_with("store URL: scheme: `http` is none of memory://"));
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's URL makes no sense.
    #[error("store URL: {part}: {reason}")]
    Url {
        /// The part of the URL that is wrong, such as `port`.
        part: &'static str,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A setting of TLS cannot be used.
    #[error("TLS: {setting}: {reason}")]
    Tls {
        /// The setting, such as `tls_ca_file`.
        setting: &'static str,
        /// What is wrong with it, naming the file, and what to do.
        reason: String,
    },
    /// The prefix of keys in Redis cannot be used.
    #[error("prefix: {reason}")]
    Prefix {
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A trusted proxy is neither an address nor a network.
    #[error("trusted proxy `{value}` is neither an address (`10.0.0.1`) nor a network (`10.0.0.0/8`, `fd00::/8`)")]
    Network {
        /// The text that was given.
        value: String,
    },
    /// The prefix of a translator is none.
    #[error("NAT64 prefix `{value}` is no IPv6 network of 32, 40, 48, 56, 64 or 96 bits (`2001:db8:64::/96`)")]
    Nat64Prefix {
        /// The text that was given.
        value: String,
    },
}

/// As the message: this is what `main` and `expect` print of it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
