//! The batches that are under way on a connection: sent one behind the other, and answered in the same order.
//!
//! There is one timer for all, and it is not set anew for each batch: where it rings and no batch is late, it is set to the time at
//! which one would be. To set it costs a lone check dearly: the runtime writes to itself, to be woken earlier than it had in mind.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    batch::Batch,
    resp::{self, LONGEST_REPLY},
    script::{Call, Names, Reply},
    session::Failure,
    stream::Stream,
};

/// Room for the reply to a batch, as a rule.
const ROOM: usize = 4096;

pub(super) struct Flights {
    stream: Stream,
    names: Arc<Names>,
    deadline: Duration,
    under_way: VecDeque<Flight>,
    /// What is to be sent, and how much of it was.
    out: Vec<u8>,
    sent: usize,
    /// What was received, between how much of it was read and how much there is.
    input: Vec<u8>,
    read: usize,
    received: usize,
    /// Rings no later than the first of the batches is due, if there is one.
    timer: Pin<Box<Sleep>>,
}

struct Flight {
    batch: Batch,
    call: Call,
    /// How many replies come before the one to it.
    before: usize,
}

/// A batch, and what the server made of it.
pub(super) type Landed = (Batch, RedisResult<Reply>);

impl Flights {
    pub(super) fn new(stream: Stream, names: Arc<Names>, deadline: Duration) -> Self {
        Self {
            stream,
            names,
            deadline,
            under_way: VecDeque::new(),
            out: Vec::new(),
            sent: 0,
            input: vec![0; ROOM],
            read: 0,
            received: 0,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends a batch at `sent`, with the windows of the server's time `now`, when [`next`](Self::next) is waited for.
    pub(super) fn push(&mut self, mut batch: Batch, sent: Instant, now: Duration) {
        batch.sent = sent;
        if batch.due < self.timer.deadline() {
            self.timer.as_mut().reset(batch.due);
        }
        let call = Call::new(&batch.works(), batch.passage(), now);
        self.send(batch, call);
    }

    fn send(&mut self, batch: Batch, call: Call) {
        call.write(&batch.works(), &self.names, &mut self.out);
        self.under_way.push_back(Flight { batch, before: call.replies_before(), call });
    }

    /// Waits for the next batch that comes back; after a failure none will.
    pub(super) async fn next(&mut self) -> Result<Landed, Failure> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Writes as much as can be written now.
    pub(super) fn write(&mut self) {
        // What is left over, or fails, is for who waits for the next batch.
        let _ = self.poll_write(&mut Context::from_waker(Waker::noop()));
    }

    /// The batches that are not answered, as far as they may be sent on another connection.
    pub(super) fn unanswered(self) -> impl Iterator<Item = Batch> {
        self.under_way.into_iter().filter_map(|flight| flight.batch.again_elsewhere())
    }

    /// The next batch that comes back; pending, too, while none is under way.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Landed, Failure>> {
        loop {
            if self.under_way.is_empty() {
                // It only notices that the server ends the connection. What a server says unasked is as good as an end, also
                // if it came with the last reply.
                if self.read == self.received {
                    ready!(self.poll_read(context)).ok();
                }
                return Poll::Ready(Err(Failure::Ended));
            }
            if let Some((values, length)) = resp::reply(&self.input[self.read..self.received]) {
                self.read += length;
                match self.land(values) {
                    Some(landed) => return Poll::Ready(Ok(landed)),
                    None => continue,
                }
            }
            let written = self.poll_write(context);
            match (self.poll_read(context), written) {
                (Poll::Ready(Ok(())), _) => {}
                // What the server has said before it closed the connection was read by now.
                (Poll::Ready(Err(error)), _) => return Poll::Ready(Err(error.into())),
                (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Err(RedisError::from(error).into())),
                (Poll::Pending, _) => return self.poll_late(context).map(Err),
            }
        }
    }

    /// Takes in a reply, which is to the first of the batches; `None`, if there is more to come for it.
    fn land(&mut self, values: RedisResult<Vec<i64>>) -> Option<Landed> {
        let Flight { batch, mut call, before } = self.under_way.pop_front()?;
        // Whatever is said of ASKING, the batch is answered; but nothing can be made of what is no answer.
        let is_answer = !matches!(&values, Err(error) if error.kind() == ErrorKind::UnexpectedReturnType);
        if before > 0 && is_answer {
            self.under_way.push_front(Flight { batch, call, before: before - 1 });
            return None;
        }
        let reply = match values {
            Err(error) if call.is_to_be_sent_whole(&error) => {
                self.send(batch, call);
                return None;
            }
            values => values.and_then(|values| call.reply(&batch.works(), values)),
        };
        Some((batch, reply))
    }

    /// Fails when a batch is late.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        let Some(due) = self.under_way.iter().map(|flight| flight.batch.due).min() else { return Poll::Pending };
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(Failure::Late(self.deadline));
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// Receives something.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<RedisResult<()>> {
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
