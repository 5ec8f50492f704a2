//! A stream with a buffer of bytes to send and a buffer of received bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use redis::{ErrorKind, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::store::redis::{
    protocol::{
        resp,
        resp::{LONGEST_REPLY, ReplyValues},
    },
    transport::stream::Stream,
};

/// The initial size of the buffer of received bytes. Most replies fit.
const ROOM: usize = 4096;

pub(crate) struct BufferedStream {
    stream: Stream,
    /// The bytes to send. `out[..sent]` are sent.
    out: Vec<u8>,
    sent: usize,
    /// The received bytes are `input[..received]`, of which `input[..read]` are parsed.
    input: Vec<u8>,
    read: usize,
    received: usize,
}

impl BufferedStream {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, out: Vec::new(), sent: 0, input: vec![0; ROOM], read: 0, received: 0 }
    }

    /// The buffer to write the next command to.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether all received bytes are parsed.
    pub(crate) fn is_drained(&self) -> bool {
        self.read == self.received
    }

    /// Parses the next reply, if all of it has been received.
    pub(crate) fn next_reply(&mut self) -> Option<RedisResult<ReplyValues>> {
        let (values, length) = resp::reply(&self.input[self.read..self.received])?;
        self.read += length;
        Some(values)
    }

    /// Sends what is buffered.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.out.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.out[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sent += length,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Receives some bytes.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<RedisResult<()>> {
        if self.read > 0 {
            self.input.copy_within(self.read..self.received, 0);
            self.received -= self.read;
            self.read = 0;
        }
        if self.received == self.input.len() {
            if self.received >= LONGEST_REPLY {
                let error = (ErrorKind::UnexpectedReturnType, "the reply to a batch is too long");
                return Poll::Ready(Err(error.into()));
            }
            self.input.resize(2 * self.received, 0);
        }
        let mut into = ReadBuf::new(&mut self.input[self.received..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut into))?;
        match into.filled().len() {
            0 => Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            length => {
                self.received += length;
                Poll::Ready(Ok(()))
            }
        }
    }
}
