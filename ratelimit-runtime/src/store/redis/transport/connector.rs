//! The connector opens streams to servers: over TCP, over TLS, or over a Unix socket.

use std::{io, pin::Pin, time::Duration};

use futures_util::future::select_ok;
use redis::RedisResult;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::store::redis::transport::{
    address::ServerAddress,
    progress::{ConnectStep, Progress},
    resolver,
    stream::{Duplex, Stream},
};

#[cfg(feature = "rustls")]
use crate::store::redis::transport::tls::Tls;

/// The range of keepalive times that systems accept.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);
const LONGEST_KEEPALIVE: Duration = Duration::from_secs(32_767);

/// The settings with which a limiter connects.
pub(crate) struct Connector {
    keepalive: Option<TcpKeepalive>,
    #[cfg(feature = "rustls")]
    pub(crate) tls: std::sync::OnceLock<Tls>,
}

impl Connector {
    /// Keeps TCP connections alive after so much idle time; zero switches keepalive off.
    pub(crate) fn new(keepalive: Duration) -> Self {
        let within = |time: Duration| time.clamp(SHORTEST_KEEPALIVE, LONGEST_KEEPALIVE);
        Self {
            keepalive: (!keepalive.is_zero()).then(|| {
                let keepalive = within(keepalive);
                TcpKeepalive::new().with_time(keepalive).with_interval(within(keepalive / 3))
            }),
            #[cfg(feature = "rustls")]
            tls: std::sync::OnceLock::new(),
        }
    }

    /// Opens a stream. It has no deadline of its own.
    pub(crate) async fn connect(&self, address: &ServerAddress, progress: &Progress) -> RedisResult<Stream> {
        let duplex: Pin<Box<dyn Duplex>> = match address {
            ServerAddress::Tcp { host, port, tls: false } => Box::pin(self.tcp(host, *port, progress).await?),
            #[cfg(feature = "rustls")]
            ServerAddress::Tcp { host, port, tls: true } => {
                let stream = self.tcp(host, *port, progress).await?;
                progress.start(ConnectStep::Handshake);
                let tls = self.tls.get().ok_or_else(|| io::Error::other("TLS is not set up"))?;
                Box::pin(tls.connect(host, stream).await?)
            }
            #[cfg(unix)]
            ServerAddress::Unix(path) => {
                progress.start(ConnectStep::Connect);
                Box::pin(tokio::net::UnixStream::connect(path).await?)
            }
            #[cfg(not(all(unix, feature = "rustls")))]
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        Ok(Stream::new(duplex))
    }

    /// Connects to all addresses of the host at once and takes the first that answers. A dead address does not delay the others.
    async fn tcp(&self, host: &str, port: u16, progress: &Progress) -> RedisResult<TcpStream> {
        progress.start(ConnectStep::HostLookup);
        let addresses = resolver::addresses(host, port).await?;
        progress.start(ConnectStep::Connect);
        let attempts = addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)));
        let (stream, _) = select_ok(attempts).await?;
        // A batch is written in one piece: waiting for more bytes would only delay it.
        stream.set_nodelay(true)?;
        if let Some(keepalive) = &self.keepalive {
            // Keepalive is an extra: a system that does not support it still works.
            let _ = SockRef::from(&stream).set_tcp_keepalive(keepalive);
        }
        Ok(stream)
    }
}
