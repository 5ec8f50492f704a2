//! The batches that are under way on a connection: sent one behind the other, and answered in the same order.
//!
//! A batch is late when the deadline has passed since it was sent, and the server has had its chance: this worker may be what was
//! late, and the reply may lie unread in the kernel. So a timer that rings is set once more, for as long as it rang too late. In
//! between, the worker goes around its connections and reads what has arrived.
//!
//! There is one timer for all, and it is not set anew for each batch: where it rings and no batch is late, it is set to the time at
//! which one would be. To set it costs a lone check dearly: the runtime writes to itself, to be woken earlier than it had in mind.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    mem::replace,
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

use crate::store::{
    clock::system,
    redis::{
        batch::Batch,
        failure::Failure,
        names::Names,
        resp::{self, LONGEST_REPLY, Values},
        script::{Call, Reply},
        transport::stream::Stream,
    },
};

/// Room for the reply to a batch, as a rule.
const ROOM: usize = 4096;

/// For how long the timer is set once more at least: the worker goes around its connections meanwhile.
const SHORTEST_GRACE: Duration = Duration::from_millis(2);

/// How long a connection must have been idle for something between it and the server to have forgotten it. Doubled each time
/// that the server was only slow.
const IDLE: Duration = Duration::from_secs(2);

/// How long such a connection may say nothing, if half of the deadline is not shorter.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);

pub(crate) struct Pipeline {
    stream: Stream,
    names: Arc<Names>,
    deadline: Duration,
    under_way: VecDeque<SentBatch>,
    /// What is to be sent, and how much of it was.
    out: Vec<u8>,
    sent: usize,
    /// What was received, between how much of it was read and how much there is.
    input: Vec<u8>,
    read: usize,
    received: usize,
    /// Rings no later than the first of the batches is due, if there is one.
    timer: Pin<Box<Sleep>>,
    /// Until when nothing is late, after the timer has rung.
    grace: Option<Instant>,
    /// When something was received last, by the monotonic clock and by the system's: a machine that was suspended sees by the
    /// second alone that time has passed.
    heard: (Instant, Duration),
    /// After which time without a batch the connection counts as idle.
    idle: Duration,
    doubt: Doubt,
}

struct SentBatch {
    batch: Batch,
    call: Call,
    /// How many replies come before the one to it.
    before: usize,
    /// The last of them that is an error.
    error_before: Option<RedisError>,
    /// When its requests are answered without the server.
    due: Option<Instant>,
    /// When the connection is given up.
    overdue: Instant,
}

/// Whether a connection that was idle may be gone without a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// It is asked for the first time since, and has time to answer until then.
    Until(Instant),
    /// It has said nothing.
    Raised,
}

/// What is to be done about the batches under way.
pub(crate) enum Event {
    Received(Received),
    /// The connection was idle, and does not answer: it may be gone. Another one may still be in time.
    Silence,
}

/// A batch, what the server made of it, and when that was read.
pub(crate) struct Received {
    pub(crate) batch: Batch,
    pub(crate) reply: RedisResult<Reply>,
    pub(crate) read: Instant,
}

impl Pipeline {
    pub(crate) fn new(stream: Stream, names: Arc<Names>, deadline: Duration) -> Self {
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
            grace: None,
            heard: (Instant::now(), system()),
            idle: IDLE,
            doubt: Doubt::None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends a batch at `sent`, with the windows of the server's time `now`, when [`next`](Self::next) is waited for.
    pub(crate) fn push(&mut self, batch: Batch, sent: Instant, now: Duration) {
        let call = Call::new(&batch.works(), batch.mode(), now);
        self.begin(batch, call, sent);
    }

    /// The same, to a server that may not have the script yet.
    pub(crate) fn push_whole(&mut self, batch: Batch, sent: Instant, now: Duration) {
        let call = Call::new(&batch.works(), batch.mode(), now).whole();
        self.begin(batch, call, sent);
    }

    fn begin(&mut self, mut batch: Batch, call: Call, sent: Instant) {
        batch.sent = sent;
        let mut due = *batch.due.get_or_insert(sent + self.deadline);
        if self.under_way.is_empty() && self.was_idle(sent) {
            let until = sent + (self.deadline / 2).min(LONGEST_SILENCE);
            self.doubt = Doubt::Until(until);
            due = due.min(until);
        }
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        self.send(batch, call);
    }

    fn was_idle(&self, now: Instant) -> bool {
        let (heard, by_system) = self.heard;
        now.saturating_duration_since(heard).max(system().saturating_sub(by_system)) >= self.idle
    }

    fn send(&mut self, batch: Batch, call: Call) {
        call.write(&batch.works(), &self.names, &mut self.out);
        let (before, due, overdue) = (call.replies_before(), batch.due, batch.sent + self.deadline);
        self.under_way.push_back(SentBatch { batch, call, before, error_before: None, due, overdue });
    }

    /// Waits for the next batch that comes back; after a failure none will.
    pub(crate) async fn next(&mut self) -> Result<Received, Failure> {
        loop {
            if let Event::Received(received) = poll_fn(|context| self.poll_next(context)).await? {
                return Ok(received);
            }
        }
    }

    /// Writes as much as can be written now.
    pub(crate) fn write(&mut self) {
        // What is left over, or fails, is for who waits for the next batch.
        let _ = self.poll_write(&mut Context::from_waker(Waker::noop()));
    }

    /// The batches that are not answered.
    pub(crate) fn unanswered(self) -> impl Iterator<Item = Batch> {
        self.under_way.into_iter().map(|sent| sent.batch)
    }

    /// The next batch that comes back; pending, too, while none is under way.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
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
                    Some(received) => return Poll::Ready(Ok(Event::Received(received))),
                    None => continue,
                }
            }
            let written = self.poll_write(context);
            match (self.poll_read(context), written) {
                (Poll::Ready(Ok(())), _) => {}
                // What the server has said before it closed the connection was read by now.
                (Poll::Ready(Err(error)), _) => return Poll::Ready(Err(error.into())),
                (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Err(RedisError::from(error).into())),
                (Poll::Pending, _) => return self.poll_late(context),
            }
        }
    }

    /// Takes in a reply, which is to the first of the batches; `None`, if there is more to come for it.
    fn land(&mut self, values: RedisResult<Values>) -> Option<Received> {
        let mut sent = self.under_way.pop_front()?;
        let read = Instant::now();
        self.heard = (read, system());
        self.grace = None;
        if replace(&mut self.doubt, Doubt::None) == Doubt::Raised {
            self.idle = self.idle.saturating_mul(2);
        }
        // Whatever is said of ASKING, the batch is answered; but nothing can be made of what is no answer.
        let is_answer = !matches!(&values, Err(error) if error.kind() == ErrorKind::UnexpectedReturnType);
        if sent.before > 0 && is_answer {
            sent.before -= 1;
            sent.error_before = values.err();
            self.under_way.push_front(sent);
            return None;
        }
        let SentBatch { mut batch, mut call, error_before, .. } = sent;
        let reply = match (values, error_before) {
            // It was not allowed to ask there, so it was sent back; and would be for ever.
            (Err(_), Some(error)) => Err(error),
            (values, _) => values,
        };
        let reply = match reply {
            Err(error) if call.is_to_be_sent_whole(&error) => {
                batch.sent = read;
                self.send(batch, call);
                return None;
            }
            values => values.and_then(|values| call.reply(&batch.works(), values)),
        };
        Some(Received { batch, reply, read })
    }

    /// Says what is late when the timer has rung, and rung once more.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        while self.timer.as_mut().poll(context).is_ready() {
            let (now, due) = (Instant::now(), self.due());
            let next = match self.grace {
                _ if now < due => due,
                None => {
                    // The time in which this worker was elsewhere is not held against the server; but not for ever.
                    let grace = (now - due).min(self.deadline).max(SHORTEST_GRACE);
                    *self.grace.insert(now + grace)
                }
                Some(grace) if now < grace => grace,
                Some(_) => match self.judge(now) {
                    Some(late) => return Poll::Ready(late),
                    None => continue,
                },
            };
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    /// What has become of the batches that are late; `None` if it is not the connection that is.
    fn judge(&mut self, now: Instant) -> Option<Result<Event, Failure>> {
        self.grace = None;
        if self.under_way.iter().any(|sent| sent.overdue <= now) {
            return Some(Err(Failure::Late(self.deadline)));
        }
        if matches!(self.doubt, Doubt::Until(until) if until <= now) {
            self.doubt = Doubt::Raised;
            return Some(Ok(Event::Silence));
        }
        // What was sent again has waited before; the server may still answer.
        for sent in self.under_way.iter_mut().filter(|sent| sent.due.is_some_and(|due| due <= now)) {
            sent.due = None;
            sent.batch.give_up();
        }
        None
    }

    /// When to look whether something is late.
    fn due(&self) -> Instant {
        let pipeline = self.under_way.iter().map(|sent| sent.due.unwrap_or(sent.overdue).min(sent.overdue));
        let doubt = if let Doubt::Until(until) = self.doubt { Some(until) } else { None };
        pipeline.chain(doubt).min().unwrap_or_else(Instant::now)
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
