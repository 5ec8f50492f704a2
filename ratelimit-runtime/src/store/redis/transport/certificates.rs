//! Certificates: those of the operating system, and those in files that the builder names.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use redis::RedisResult;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::{error::Error, store::redis::transport::tls_options::TlsOptions};

/// The longest file of certificates, in bytes. Those of all public authorities take a fiftieth of it.
const LONGEST_FILE: u64 = 16 << 20;

/// The files of a limiter, and their contents when they were read last.
#[derive(Default)]
pub(crate) struct Files {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    contents: Contents,
    identities: Identities,
    config: Option<Arc<ClientConfig>>,
    /// Whether the files have changed to contents that cannot be used.
    is_broken: bool,
}

#[derive(Default, PartialEq, Eq)]
struct Contents {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

/// The CAs to trust in place of the system's, and the client's certificate.
#[derive(Clone, Default)]
struct Identities {
    roots: Option<Arc<RootCertStore>>,
    client: Option<Arc<CertifiedKey>>,
}

impl Files {
    pub(crate) fn new(options: TlsOptions) -> Self {
        let (certificate, key) = options.client_certificate.unzip();
        Self { ca: options.ca_file, certificate, key, last: Mutex::default() }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.ca.is_none() && self.certificate.is_none()
    }

    /// Reads them for the first time. Blocks.
    pub(crate) fn load(&self) -> Result<(), Error> {
        let contents = self.read()?;
        let identities = self.identities(&contents)?;
        *self.last.lock() = Last { contents, identities, config: None, is_broken: false };
        Ok(())
    }

    /// The configuration from the files, which are read again if they have changed. Files that cannot be used, as in the middle of a
    /// rotation, count as they were. Blocks.
    pub(crate) fn config(&self) -> RedisResult<Arc<ClientConfig>> {
        let mut last = self.last.lock();
        let changed = self.read().and_then(|contents| {
            let is_changed = contents != last.contents;
            is_changed.then(|| Ok((self.identities(&contents)?, contents))).transpose()
        });
        let is_broken = changed.is_err();
        match changed {
            Ok(Some((identities, contents))) => *last = Last { contents, identities, config: None, is_broken },
            Ok(None) => {}
            Err(error) if last.is_broken => log::debug!("{error}"),
            Err(error) => log::warn!("{error}; until it can be used, what was read before is (RL020)"),
        }
        last.is_broken = is_broken;
        if let Some(config) = &last.config {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(last.identities.config()?);
        last.config = Some(Arc::clone(&config));
        Ok(config)
    }

    fn read(&self) -> Result<Contents, Error> {
        let read = |setting, path: &Option<PathBuf>| path.as_ref().map(|path| read(setting, path)).transpose();
        Ok(Contents {
            ca: read(CA_FILE, &self.ca)?,
            certificate: read(CLIENT_CERTIFICATE, &self.certificate)?,
            key: read(CLIENT_CERTIFICATE, &self.key)?,
        })
    }

    fn identities(&self, contents: &Contents) -> Result<Identities, Error> {
        let mut identities = Identities::default();
        if let (Some(path), Some(pem)) = (&self.ca, &contents.ca) {
            let mut roots = RootCertStore::empty();
            let (_, ignored) = roots.add_parsable_certificates(certificates(CA_FILE, path, pem)?);
            if roots.is_empty() {
                return Err(error(CA_FILE, format!("`{}` has no certificate that can be used", path.display())));
            }
            if ignored > 0 {
                log::warn!("TLS: {ignored} certificates in `{}` cannot be used (RL021)", path.display());
            }
            identities.roots = Some(Arc::new(roots));
        }
        if let (Some(path), Some(pem), Some(key_path), Some(key)) =
            (&self.certificate, &contents.certificate, &self.key, &contents.key)
        {
            let chain = certificates(CLIENT_CERTIFICATE, path, pem)?;
            // The reason is not shown: it may contain a part of the key.
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                let form = "write one without a password, in PEM: `-----BEGIN PRIVATE KEY-----`";
                error(CLIENT_CERTIFICATE, format!("`{}` has no key that can be read; {form}", key_path.display()))
            })?;
            let client = CertifiedKey::from_der(chain, key, &provider()).map_err(|reason| {
                let (path, key) = (path.display(), key_path.display());
                error(CLIENT_CERTIFICATE, format!("`{path}` and the key `{key}` do not go together: {reason}"))
            })?;
            identities.client = Some(Arc::new(client));
        }
        Ok(identities)
    }
}

const CA_FILE: &str = "tls_ca_file";
const CLIENT_CERTIFICATE: &str = "tls_client_certificate";

impl Identities {
    fn config(&self) -> RedisResult<ClientConfig> {
        let roots = self.roots.clone().map_or_else(system_roots, Ok)?;
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.map_err(io::Error::other)?.with_root_certificates(roots);
        Ok(match &self.client {
            Some(client) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(client)))),
            None => config.with_no_client_auth(),
        })
    }
}

/// The configuration of all limiters that name no files, if it is there already.
static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();

pub(crate) fn system_config() -> Option<Arc<ClientConfig>> {
    SYSTEM.get().cloned()
}

/// Makes it. Blocks.
pub(crate) fn load_system_config() -> RedisResult<Arc<ClientConfig>> {
    let config = Identities::default().config()?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(config))))
}

/// The certificates that the operating system trusts: read once in a process, if there are any. Blocks.
fn system_roots() -> RedisResult<Arc<RootCertStore>> {
    static ROOTS: Mutex<Option<Arc<RootCertStore>>> = Mutex::new(None);
    let mut kept = ROOTS.lock();
    if let Some(roots) = &*kept {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    let problem = found.errors.first().map(ToString::to_string);
    if roots.is_empty() {
        let detail = problem.map(|problem| format!(" ({problem})")).unwrap_or_default();
        let advice = "install its package of CA certificates, or name a file with `tls_ca_file`";
        let text = format!("TLS: the operating system has no certificates to trust{detail}; {advice}");
        return Err(io::Error::new(io::ErrorKind::NotFound, text).into());
    }
    let ignored = ignored + found.errors.len();
    if ignored > 0 {
        let detail = problem.unwrap_or_else(|| "a certificate has a form that is not supported".to_owned());
        log::warn!(
            "TLS: {ignored} entries of the operating system's certificates are ignored, such as: {detail} (RL021)"
        );
    }
    Ok(Arc::clone(kept.insert(Arc::new(roots))))
}

/// The application's provider of cryptography, if it has chosen one. That of the process is the application's to choose.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    let mut contents = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut contents));
    match read {
        Ok(_) => Ok(contents),
        Err(reason) => Err(error(setting, format!("`{}` cannot be read: {reason}", path.display()))),
    }
}

fn certificates(setting: &'static str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or_else(|| {
        let form = "write it in PEM: `-----BEGIN CERTIFICATE-----`";
        error(setting, format!("`{}` has no certificate, or a broken one; {form}", path.display()))
    })
}

fn error(setting: &'static str, reason: String) -> Error {
    Error::Tls { setting, reason }
}
