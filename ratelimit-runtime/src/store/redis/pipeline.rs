//! The pipeline: one open stream, and the batches in flight on it. The server answers them in the order in which they were sent.
//!
//! A batch is late when its deadline has passed and the server has had its chance. The worker itself may be late, and the reply
//! may lie unread in the kernel. So when the timer rings, it is set once more, for as long as it rang too late. Meanwhile the
//! worker reads what has arrived.
//!
//! One timer serves all batches. It is not set again for each batch: when it rings and no batch is late, it is set to the next
//! time at which one would be. Setting it is expensive for a lone check, because the runtime writes to itself to wake earlier.

pub(crate) mod batch;
pub(crate) mod buffered_stream;
pub(crate) mod check;
pub(crate) mod refusals;
pub(crate) mod silence;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::store::{
    keys::KeyNames,
    redis::{
        failure::Failure,
        pipeline::{batch::Batch, buffered_stream::BufferedStream, silence::Silence},
        protocol::{call::ScriptCall, reply::Reply, resp::ReplyValues},
        transport::{address::ServerAddress, stream::Stream},
    },
    server_clock::ServerClock,
};

/// The shortest extension of the timer. The worker handles its other connections meanwhile.
const SHORTEST_GRACE: Duration = Duration::from_millis(2);

/// An open stream to a server, the server's clock, and the batches in flight.
pub(crate) struct Pipeline {
    stream: BufferedStream,
    address: ServerAddress,
    clock: ServerClock,
    names: Arc<KeyNames>,
    deadline: Duration,
    in_flight: VecDeque<BatchInFlight>,
    /// Rings no later than the first of the batches is due.
    timer: Pin<Box<Sleep>>,
    /// Nothing counts as late before this time. It is set when the timer has rung.
    grace: Option<Instant>,
    silence: Silence,
}

/// A batch that was sent and not answered.
struct BatchInFlight {
    batch: Batch,
    call: ScriptCall,
    /// How many replies come before the script's.
    replies_before: usize,
    /// The last of those replies that is an error.
    error_before: Option<RedisError>,
    /// When its requests are answered without the server.
    due: Option<Instant>,
    /// When the connection fails.
    overdue: Instant,
}

/// What happens on a pipeline.
pub(crate) enum PipelineEvent {
    Answered(AnsweredBatch),
    /// The connection was idle and does not answer. It may be gone; another one may still meet the deadline.
    Silent,
}

/// A batch, its reply, and when the reply was read.
pub(crate) struct AnsweredBatch {
    pub(crate) batch: Batch,
    pub(crate) reply: RedisResult<Reply>,
    pub(crate) read: Instant,
}

impl Pipeline {
    pub(crate) fn new(
        stream: Stream,
        address: ServerAddress,
        clock: ServerClock,
        names: Arc<KeyNames>,
        deadline: Duration,
    ) -> Self {
        Self {
            stream: BufferedStream::new(stream),
            address,
            clock,
            names,
            deadline,
            in_flight: VecDeque::new(),
            timer: Box::pin(sleep_until(Instant::now())),
            grace: None,
            silence: Silence::new(),
        }
    }

    /// The server's address.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Corrects the server's clock by the time in a reply, and returns the clock.
    pub(crate) fn observe_time(&mut self, time: Duration, sent: Instant, read: Instant) -> ServerClock {
        self.clock.observe(time, sent.into_std(), read.into_std());
        self.clock
    }

    /// Queues a batch for the stream. The next [`poll_next`](Self::poll_next) or [`write_now`](Self::write_now) writes it.
    pub(crate) fn send(&mut self, batch: Batch) {
        let (now, server_time) = self.now();
        let call = ScriptCall::new(&batch.works(), batch.delivery(), server_time);
        self.start(batch, call, now);
    }

    /// As [`send`](Self::send), to a server that may not have the script.
    pub(crate) fn send_with_source(&mut self, batch: Batch) {
        let (now, server_time) = self.now();
        let call = ScriptCall::new(&batch.works(), batch.delivery(), server_time).with_source();
        self.start(batch, call, now);
    }

    /// Writes as much as the stream takes at once.
    pub(crate) fn write_now(&mut self) {
        // The next `poll_next` writes the rest, and reports an error.
        let _ = self.stream.poll_write(&mut Context::from_waker(Waker::noop()));
    }

    /// The batches without an answer.
    pub(crate) fn into_unanswered(self) -> impl Iterator<Item = Batch> {
        self.in_flight.into_iter().map(|in_flight| in_flight.batch)
    }

    /// Waits for the next answered batch. There is none after a failure.
    pub(crate) async fn next(&mut self) -> Result<AnsweredBatch, Failure> {
        loop {
            if let PipelineEvent::Answered(answered) = poll_fn(|context| self.poll_next(context)).await? {
                return Ok(answered);
            }
        }
    }

    /// Writes, reads, and returns the next event. It is pending while nothing is in flight.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<PipelineEvent, Failure>> {
        loop {
            if self.in_flight.is_empty() {
                // Only the end of the connection is expected now. Anything else that a server sends unasked counts as its end.
                if self.stream.is_drained() {
                    ready!(self.stream.poll_read(context)).ok();
                }
                return Poll::Ready(Err(Failure::Ended));
            }
            if let Some(values) = self.stream.next_reply() {
                match self.take_reply(values) {
                    Some(answered) => return Poll::Ready(Ok(PipelineEvent::Answered(answered))),
                    None => continue,
                }
            }
            let written = self.stream.poll_write(context);
            match (self.stream.poll_read(context), written) {
                (Poll::Ready(Ok(())), _) => {}
                // Everything that the server sent before it closed the connection is read by now.
                (Poll::Ready(Err(error)), _) => return Poll::Ready(Err(error.into())),
                (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Err(RedisError::from(error).into())),
                (Poll::Pending, _) => return self.poll_late(context),
            }
        }
    }

    /// The time here and at the server.
    fn now(&self) -> (Instant, Duration) {
        let now = Instant::now();
        (now, self.clock.at(now.into_std()))
    }

    fn start(&mut self, mut batch: Batch, call: ScriptCall, now: Instant) {
        batch.sent = now;
        let mut due = *batch.due.get_or_insert(now + self.deadline);
        if self.in_flight.is_empty()
            && let Some(until) = self.silence.sent(now, self.deadline)
        {
            due = due.min(until);
        }
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        self.push(batch, call);
    }

    fn push(&mut self, batch: Batch, call: ScriptCall) {
        call.write(&batch.works(), &self.names, self.stream.out());
        let (replies_before, due, overdue) = (call.replies_before(), batch.due, batch.sent + self.deadline);
        self.in_flight.push_back(BatchInFlight { batch, call, replies_before, error_before: None, due, overdue });
    }

    /// Gives a reply to the first batch; `None` if that batch waits for another reply.
    fn take_reply(&mut self, values: RedisResult<ReplyValues>) -> Option<AnsweredBatch> {
        let mut first = self.in_flight.pop_front()?;
        let read = Instant::now();
        self.silence.replied(read);
        self.grace = None;
        // The reply to ASKING does not matter, unless it is no valid reply at all.
        let is_valid = !matches!(&values, Err(error) if error.kind() == ErrorKind::UnexpectedReturnType);
        if first.replies_before > 0 && is_valid {
            first.replies_before -= 1;
            first.error_before = values.err();
            self.in_flight.push_front(first);
            return None;
        }
        let BatchInFlight { mut batch, mut call, error_before, .. } = first;
        let reply = match (values, error_before) {
            // The user may not send ASKING, so the node redirects the batch. It would do so again and again.
            (Err(_), Some(error)) => Err(error),
            (values, _) => values,
        };
        let reply = match reply {
            Err(error) if call.needs_source(&error) => {
                batch.sent = read;
                self.push(batch, call);
                return None;
            }
            values => values.and_then(|values| call.reply(&batch.works(), values)),
        };
        Some(AnsweredBatch { batch, reply, read })
    }

    /// Looks for late batches, after the timer has rung twice.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Result<PipelineEvent, Failure>> {
        while self.timer.as_mut().poll(context).is_ready() {
            let (now, due) = (Instant::now(), self.due());
            let next = match self.grace {
                _ if now < due => due,
                None => {
                    // The worker was busy for `now - due`. The server gets this time back, up to one deadline.
                    let grace = (now - due).min(self.deadline).max(SHORTEST_GRACE);
                    *self.grace.insert(now + grace)
                }
                Some(grace) if now < grace => grace,
                Some(_) => match self.handle_late(now) {
                    Some(late) => return Poll::Ready(late),
                    None => continue,
                },
            };
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    /// Fails if the connection is late, and gives up the requests that are late.
    fn handle_late(&mut self, now: Instant) -> Option<Result<PipelineEvent, Failure>> {
        self.grace = None;
        if self.in_flight.iter().any(|in_flight| in_flight.overdue <= now) {
            return Some(Err(Failure::Late(self.deadline)));
        }
        if self.silence.is_too_long(now) {
            return Some(Ok(PipelineEvent::Silent));
        }
        // A batch that was sent again has used up its time on the first attempt. The server may still answer it.
        for late in self.in_flight.iter_mut().filter(|in_flight| in_flight.due.is_some_and(|due| due <= now)) {
            late.due = None;
            late.batch.give_up();
        }
        None
    }

    /// The earliest time at which something is late.
    fn due(&self) -> Instant {
        let batches = self.in_flight.iter();
        let batches = batches.map(|in_flight| in_flight.due.unwrap_or(in_flight.overdue).min(in_flight.overdue));
        batches.chain(self.silence.until()).min().unwrap_or_else(Instant::now)
    }
}
