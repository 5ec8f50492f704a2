//! What can be wrong with a set-up.

use std::{fmt, io};

/// A set-up that cannot work, with what to do about it. Never the answer to a request.
///
/// It converts into [`std::io::Error`], so that `?` works in the `main` of an Actix application.
///
/// ```
/// use ratelimit_runtime::RateLimiter;
///
/// let error = RateLimiter::open("http://127.0.0.1/").unwrap_err();
/// assert!(error.to_string().starts_with("store URL: scheme: `http` is none of memory://"));
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's URL makes no sense.
    #[non_exhaustive]
    #[error("store URL: {part}: {reason} (RL001)")]
    Url {
        /// The part of the URL that is wrong, such as `port`.
        part: &'static str,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A setting of TLS cannot be used.
    #[non_exhaustive]
    #[error("TLS: {setting}: {reason} (RL002)")]
    Tls {
        /// The setting, such as `tls_ca_file`.
        setting: &'static str,
        /// What is wrong with it, naming the file, and what to do.
        reason: String,
    },
    /// The prefix of keys in Redis cannot be used.
    #[non_exhaustive]
    #[error("prefix: {reason} (RL003)")]
    Prefix {
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A number is out of range.
    #[non_exhaustive]
    #[error("{setting}: {reason} (RL004)")]
    Setting {
        /// The setting, such as `deadline`.
        setting: &'static str,
        /// The range.
        reason: String,
    },
    /// A trusted proxy is neither an address nor a network.
    #[non_exhaustive]
    #[error(
        "trusted proxy `{value}` is neither an address (`10.0.0.1`) nor a network (`10.0.0.0/8`, `fd00::/8`) (RL005)"
    )]
    Network {
        /// The text that was given.
        value: String,
    },
    /// The prefix of a translator is none.
    #[non_exhaustive]
    #[error("NAT64 prefix `{value}` is no IPv6 network of 32, 40, 48, 56, 64 or 96 bits (`2001:db8:64::/96`) (RL006)")]
    Nat64Prefix {
        /// The text that was given.
        value: String,
    },
    /// The store's database could not be prepared.
    #[non_exhaustive]
    #[error("migration of {store}: {reason} (RL029)")]
    Migration {
        /// The store, without secrets.
        store: String,
        /// The cause, and the remedy.
        reason: String,
    },
}

/// The variant and the message: a `main` that returns the error prints this, and the message has the code.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Url { .. } => "Url",
            Self::Tls { .. } => "Tls",
            Self::Prefix { .. } => "Prefix",
            Self::Setting { .. } => "Setting",
            Self::Network { .. } => "Network",
            Self::Nat64Prefix { .. } => "Nat64Prefix",
            Self::Migration { .. } => "Migration",
        };
        f.debug_tuple(variant).field(&format_args!("{self}")).finish()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
