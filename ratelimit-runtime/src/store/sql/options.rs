//! What the URLs of SQL servers have in common.

use crate::{
    error::Error,
    store::url::{error, escapes::decode, parts::Parts},
};

/// The name of the database. `form` is the URL's form for the error.
pub(super) fn database(parts: &Parts<'_>, form: &str) -> Result<String, Error> {
    let database = decode("database", parts.path.trim_end_matches('/'))?;
    match database.is_empty() {
        true => Err(error("database", format!("is missing; write {form}"))),
        false => Ok(database),
    }
}

/// An error if TLS is wanted and not there.
pub(super) fn check_tls(is_wanted: bool) -> Result<(), Error> {
    match is_wanted && !cfg!(feature = "rustls") {
        true => Err(error("query", "TLS is the cargo feature `rustls` of ratelimit-runtime; switch it on")),
        false => Ok(()),
    }
}
