//! The TLS settings of the builder.

use std::path::PathBuf;

/// What an application may set for TLS. The defaults come from the operating system and from the URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    /// A file of CA certificates to trust, in place of those of the operating system.
    pub(crate) ca_file: Option<PathBuf>,
    /// The files of the client's certificate and of its key.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    /// The name that a server's certificate must carry, in place of the host in the URL.
    pub(crate) server_name: Option<String>,
}

impl TlsOptions {
    pub(crate) fn is_set(&self) -> bool {
        self.ca_file.is_some() || self.client_certificate.is_some() || self.server_name.is_some()
    }
}
