//! The silence of a connection that was idle: something between it and the server may have forgotten it, without a word.

use std::{mem::replace, time::Duration};

use tokio::time::Instant;

use crate::store::clock::system;

/// The idle time after which a connection is in doubt. It doubles each time that the server was only slow.
const IDLE: Duration = Duration::from_secs(2);

/// How long a connection in doubt may stay silent, unless half of the deadline is shorter.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);

pub(crate) struct Silence {
    /// When the last bytes came, by the monotonic clock and by the system's. On a machine that was suspended, only the second
    /// clock has moved.
    last_reply: (Instant, Duration),
    /// The idle time after which the connection is in doubt.
    idle: Duration,
    doubt: Doubt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// The first batch after the idle time is in flight; an answer is expected before then.
    Until(Instant),
    /// No answer came in time.
    Raised,
}

impl Silence {
    pub(crate) fn new() -> Self {
        Self { last_reply: (Instant::now(), system()), idle: IDLE, doubt: Doubt::None }
    }

    /// Handles that a batch is sent while none is in flight. If the connection was idle, it returns until when an answer is
    /// expected.
    pub(crate) fn sent(&mut self, now: Instant, deadline: Duration) -> Option<Instant> {
        let (last, by_system) = self.last_reply;
        let idle = now.saturating_duration_since(last).max(system().saturating_sub(by_system));
        if idle < self.idle {
            return None;
        }
        let until = now + (deadline / 2).min(LONGEST_SILENCE);
        self.doubt = Doubt::Until(until);
        Some(until)
    }

    /// Handles that a reply came.
    pub(crate) fn replied(&mut self, now: Instant) {
        self.last_reply = (now, system());
        if replace(&mut self.doubt, Doubt::None) == Doubt::Raised {
            self.idle = self.idle.saturating_mul(2);
        }
    }

    /// Whether the silence has just become too long. It says so once.
    pub(crate) fn is_too_long(&mut self, now: Instant) -> bool {
        let is_too_long = matches!(self.doubt, Doubt::Until(until) if until <= now);
        if is_too_long {
            self.doubt = Doubt::Raised;
        }
        is_too_long
    }

    /// When the silence becomes too long.
    pub(crate) fn until(&self) -> Option<Instant> {
        if let Doubt::Until(until) = self.doubt { Some(until) } else { None }
    }
}
