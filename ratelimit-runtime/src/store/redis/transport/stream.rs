//! A stream of bytes to a server, and one command at a time on it.
//!
//! Login, cluster and sentinel use it so. Batches go through the pipeline instead.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, parse_redis_value_async};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The longest answer to one command, in bytes.
const LONGEST_ANSWER: u64 = 1 << 16;

/// The longest answer to `CLUSTER SLOTS`, in bytes: 16,384 ranges of one slot, each with a primary and a replica.
pub(crate) const LONGEST_MAP: u64 = 1 << 22;

/// An open stream.
pub(crate) struct Stream(Pin<Box<dyn Duplex>>);

/// Anything that bytes can be read from and written to.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl Stream {
    pub(crate) fn new(duplex: Pin<Box<dyn Duplex>>) -> Self {
        Self(duplex)
    }

    /// Sends a command and reads its answer. Nothing else may be in flight.
    pub(crate) async fn run<T: FromRedisValue>(&mut self, command: Cmd) -> RedisResult<T> {
        self.run_with_limit(command, LONGEST_ANSWER).await
    }

    /// Sends a command and reads its answer, which has at most `longest` bytes.
    pub(crate) async fn run_with_limit<T: FromRedisValue>(&mut self, command: Cmd, longest: u64) -> RedisResult<T> {
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
