//! The settings of TLS.

use std::path::PathBuf;

/// What the builder was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate, and its key.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) server_name: Option<String>,
}

impl TlsOptions {
    pub(crate) fn is_set(&self) -> bool {
        self.ca_file.is_some() || self.client_certificate.is_some() || self.server_name.is_some()
    }
}
