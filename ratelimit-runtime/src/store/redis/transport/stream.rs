//! The way to a server: over TCP, over TLS, or over a Unix socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

#[cfg(feature = "rustls")]
use crate::store::redis::transport::tls::Tls;
use crate::store::redis::transport::{
    address::Address,
    progress::{Progress, Step},
    resolver,
};
use futures_util::future::select_ok;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, parse_redis_value_async};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// No answer to a login or a question is longer than this, in bytes.
const LONGEST_ANSWER: u64 = 1 << 16;

/// Nor this, if the question is for the slots of a cluster: all 16,384 by themselves, each with a primary and a replica.
pub(crate) const LONGEST_MAP: u64 = 1 << 22;

/// The shortest and the longest time after which systems keep a connection alive.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);
const LONGEST_KEEPALIVE: Duration = Duration::from_secs(32_767);

/// How the servers of a limiter are connected to.
pub(crate) struct Transport {
    keepalive: Option<TcpKeepalive>,
    #[cfg(feature = "rustls")]
    pub(crate) tls: std::sync::OnceLock<Tls>,
}

/// An open stream.
pub(crate) struct Stream(Pin<Box<dyn Duplex>>);

trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl Transport {
    /// Keeps TCP connections alive that were idle for so long; zero for none.
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

    /// Connects, without a deadline.
    pub(crate) async fn connect(&self, address: &Address, progress: &Progress) -> RedisResult<Stream> {
        let duplex: Pin<Box<dyn Duplex>> = match address {
            Address::Tcp { host, port, tls: false } => Box::pin(self.tcp(host, *port, progress).await?),
            #[cfg(feature = "rustls")]
            Address::Tcp { host, port, tls: true } => {
                let stream = self.tcp(host, *port, progress).await?;
                progress.begin(Step::Handshake);
                let tls = self.tls.get().ok_or_else(|| io::Error::other("TLS is not set up"))?;
                Box::pin(tls.connect(host, stream).await?)
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                progress.begin(Step::Connect);
                Box::pin(tokio::net::UnixStream::connect(path).await?)
            }
            #[cfg(not(all(unix, feature = "rustls")))]
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        Ok(Stream(duplex))
    }

    /// To the first of the host's addresses that answers: one that does not must not hold up the others.
    async fn tcp(&self, host: &str, port: u16, progress: &Progress) -> RedisResult<TcpStream> {
        progress.begin(Step::Lookup);
        let addresses = resolver::addresses(host, port).await?;
        progress.begin(Step::Connect);
        let attempts = addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)));
        let (stream, _) = select_ok(attempts).await?;
        // A batch is written at once: there is nothing to wait for.
        stream.set_nodelay(true)?;
        if let Some(keepalive) = &self.keepalive {
            // A system that cannot do it can do without.
            let _ = SockRef::from(&stream).set_tcp_keepalive(keepalive);
        }
        Ok(stream)
    }
}

impl Stream {
    /// The answer to a command. Nothing else may be under way.
    pub(crate) async fn ask<T: FromRedisValue>(&mut self, command: Cmd) -> RedisResult<T> {
        self.ask_at_length(command, LONGEST_ANSWER).await
    }

    /// The answer to a command, of so many bytes at the most.
    pub(crate) async fn ask_at_length<T: FromRedisValue>(&mut self, command: Cmd, longest: u64) -> RedisResult<T> {
        self.write_all(&command.get_packed_command()).await?;
        self.flush().await?;
        let mut input = self.take(longest);
        let answer = parse_redis_value_async(&mut Default::default(), &mut input).await;
        if input.limit() == 0 {
            let error = (ErrorKind::UnexpectedReturnType, "the answer of the server is too long");
            return Err(RedisError::from(error));
        }
        Ok(redis::from_redis_value(answer?.extract_error()?)?)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
