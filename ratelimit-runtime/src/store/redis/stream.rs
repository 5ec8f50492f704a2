//! The way to a server: over TCP, over TLS, or over a Unix socket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::select_ok;
use parking_lot::Mutex;
use redis::{ConnectionAddr, ErrorKind, RedisError, RedisResult};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
};

/// An open stream. It is lent to redis-rs, to log in; what is sent and read after that is this store's own.
#[derive(Clone)]
pub(super) struct Stream(Arc<Mutex<Pin<Box<dyn Duplex>>>>);

trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl Stream {
    /// Connects, without a deadline.
    pub(super) async fn open(address: &ConnectionAddr) -> RedisResult<Self> {
        let duplex: Pin<Box<dyn Duplex>> = match address {
            ConnectionAddr::Tcp(host, port) => Box::pin(tcp(host, *port).await?),
            #[cfg(feature = "rustls")]
            ConnectionAddr::TcpTls { host, port, insecure: false, .. } => Box::pin(tls(host, *port).await?),
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Box::pin(tokio::net::UnixStream::connect(path).await?),
            _ => return Err(invalid("there is no such way to a server here", address.to_string())),
        };
        Ok(Self(Arc::new(Mutex::new(duplex))))
    }
}

/// To the first of the host's addresses that answers: one that does not must not hold up the others.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let attempts: Vec<_> =
        lookup_host((host, port)).await?.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    let (stream, _) = select_ok(attempts).await?;
    // A batch is written at once: there is nothing to wait for.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Over TLS, with the certificates that the operating system trusts.
#[cfg(feature = "rustls")]
async fn tls(host: &str, port: u16) -> RedisResult<tokio_rustls::client::TlsStream<TcpStream>> {
    use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};

    let mut trusted = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    if let Some(error) = found.errors.first() {
        return Err(invalid("the certificates of the operating system cannot be read", error.to_string()));
    }
    trusted.add_parsable_certificates(found.certs);
    let config = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| invalid("a certificate cannot be for this host", error.to_string()))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(connector.connect(name, tcp(host, port).await?).await?)
}

fn invalid(what: &'static str, detail: String) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what, detail))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.lock().as_mut().poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().as_mut().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().as_mut().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().as_mut().poll_shutdown(context)
    }
}
