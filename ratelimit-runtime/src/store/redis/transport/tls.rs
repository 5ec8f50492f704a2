//! TLS on a connection.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use redis::RedisResult;
use rustls::{AlertDescription, CertificateError, ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    error::Error,
    store::redis::transport::{
        certificates::{Files, load_system_config, system_config},
        fetch::Fetched,
        tls_options::TlsOptions,
    },
};

/// The longest error text to show, in characters: an error about a certificate may list all of its names.
const LONGEST_REASON: usize = 200;

/// The TLS of a limiter.
pub(crate) struct Tls {
    files: Arc<Files>,
    config: Arc<Fetched<Arc<ClientConfig>>>,
    /// The name that every server's certificate must carry, if it is not the host.
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files that the builder names, or starts to read the certificates of the system.
    pub(crate) fn new(options: TlsOptions) -> Result<Self, Error> {
        static SYSTEM: LazyLock<Arc<Fetched<Arc<ClientConfig>>>> = LazyLock::new(Arc::default);
        let server_name = options.server_name.clone().map(|name| {
            let reason = "is neither a host name nor an address; write it without a port".to_owned();
            ServerName::try_from(name).map_err(|_| Error::Tls { setting: "tls_server_name", reason })
        });
        let server_name = server_name.transpose()?;
        let files = Files::new(options);
        if files.are_none() {
            SYSTEM.prepare(load_system_config);
            return Ok(Self { files: Arc::new(files), config: Arc::clone(&SYSTEM), server_name });
        }
        files.load()?;
        Ok(Self { files: Arc::new(files), config: Arc::default(), server_name })
    }

    /// Makes the handshake on a connection to `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> RedisResult<impl AsyncRead + AsyncWrite + use<>> {
        let config = self.config().await?;
        let name = self.server_name.clone().map_or_else(|| ServerName::try_from(host.to_owned()), Ok);
        let name = name.map_err(|_| {
            let reason = "TLS: no certificate is for such a host; give the name that it is for with `tls_server_name`";
            io::Error::new(ErrorKind::InvalidInput, reason)
        })?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Ok(Named(stream.map_err(|error| named("the TLS handshake fails", error))?))
    }

    async fn config(&self) -> RedisResult<Arc<ClientConfig>> {
        if !self.files.are_none() {
            let files = Arc::clone(&self.files);
            return self.config.get(move || files.config()).await;
        }
        match system_config() {
            Some(config) => Ok(config),
            None => self.config.get(load_system_config).await,
        }
    }
}

/// A stream whose errors name TLS. A server may refuse a client's certificate after the client has finished the handshake.
struct Named(TlsStream<TcpStream>);

impl AsyncRead for Named {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into).map_err(|error| named("TLS fails", error))
    }
}

impl AsyncWrite for Named {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes).map_err(|error| named("TLS fails", error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(|error| named("TLS fails", error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Adds to an error of TLS what failed and what to do. Other errors pass, unless they come from the handshake.
fn named(what: &str, error: io::Error) -> io::Error {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let is_handshake = what.contains("handshake");
    if of_tls.is_none() && !is_handshake {
        return error;
    }
    let advice = of_tls.map_or("; does the server speak TLS on this port?", advice);
    let reason: String = error.to_string().chars().take(LONGEST_REASON).collect();
    io::Error::new(error.kind(), format!("{what}: {reason}{advice}"))
}

fn advice(error: &rustls::Error) -> &'static str {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "; name the file of the CA that has signed the server's certificate with `tls_ca_file`"
        }
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            "; connect to the name that the certificate is for, or give it with `tls_server_name`"
        }
        AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => "; the server wants another certificate of this client: see `tls_client_certificate`",
        InvalidMessage(_) => "; does the server speak TLS on this port?",
        _ => "",
    }
}
