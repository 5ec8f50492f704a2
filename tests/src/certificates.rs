//! The certificates of the tests, in `tests/tls`.

/// The certificate of the tests' servers: self-signed, for 127.0.0.1, until the year 2126. Nothing else uses its key.
pub const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/certificate.pem");
/// The key of [`CERTIFICATE`].
pub const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/key.pem");

/// A certificate that no server trusts.
pub const STRANGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/stranger.pem");

/// A certificate for 150 names, none of which is that of a server of the tests.
pub const MANY_NAMES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/many_names.pem");
/// The key of [`MANY_NAMES`].
pub const MANY_NAMES_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/many_names_key.pem");

/// The key of [`STRANGER`].
pub const STRANGER_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/stranger_key.pem");
