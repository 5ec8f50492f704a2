//! The deny cache: which counters are full, for all workers of this process, until their windows end.
//!
//! Within a fixed window a counter only grows, unless it is reset or something is given back to it. Either removes a key
//! beside the counters, the mark, which holds the time at which it was made. While requests are refused by this cache, a worker
//! reads the mark several times a second, and makes it if it is gone: as long as it is the same, so is what is kept here, and
//! once it is another, nothing is. A server that has lost its counters has lost the mark with them. So what was reset, or given
//! back, is seen within [`BELIEVED`].
//!
//! Who deletes a counter by hand leaves the mark: that is why Redis is asked about some in spite of what is kept.
//!
//! It is a table for as many counters as it has room for, whoever comes; what does not fit is asked for again. Several rules,
//! leases, and what is no fixed window are left to what each worker [knows](super::known); and so are clusters,
//! whose nodes have no time in common.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    algorithm::Terms,
    policy::Algorithm,
    store::{Hit, Outcome, memory::MemoryStore},
};

/// In 4 MB, of which the operating system gives what is touched.
const CAPACITY: usize = 100_000;

/// For how long what was read of the mark is taken to be so.
const BELIEVED: Duration = Duration::from_secs(1);

/// How often it is read.
const INTERVAL: Duration = Duration::from_millis(250);

/// About how many counters Redis is asked each second, though they are kept as full.
const RECHECKS: u32 = 1000;

pub(super) struct Denials {
    full: MemoryStore,
    started: Instant,
    /// When to ask for the mark again, in nanoseconds since the start; zero while there is nothing to refuse. Without a lock,
    /// since each request looks at it.
    ask_again: AtomicU64,
    standing: Mutex<Standing>,
}

#[derive(Clone, Copy)]
struct Standing {
    /// What the mark was, in microseconds since the epoch by the server's clock.
    mark: u64,
    /// When it was asked for, of the last time that it was answered, and the server's time of the answer.
    confirmed: Option<(Instant, Duration)>,
    /// Whether there was something to refuse since it was last asked for.
    is_used: bool,
    /// Of what is kept: with each, what was kept before is forgotten.
    generation: u64,
    rechecks: u32,
    recheck_again: Instant,
}

impl Denials {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let standing =
            Standing { mark: 0, confirmed: None, is_used: false, generation: 0, rechecks: 0, recheck_again: now };
        Self {
            full: MemoryStore::new(CAPACITY),
            started: now,
            ask_again: AtomicU64::new(0),
            standing: Mutex::new(standing),
        }
    }

    /// Refuses a request whose counter is full.
    pub(super) fn refuse(&self, hit: &Hit, now: Instant) -> Option<Outcome> {
        if self.ask_again.load(Relaxed) == 0 || !is_kept(hit) {
            return None;
        }
        let standing = *self.standing.lock();
        let (asked, told) = standing.confirmed?;
        let since = now.duration_since(asked);
        if since >= BELIEVED {
            return None;
        }
        // To look costs nothing.
        let look = Hit { terms: Terms { cost: 0, ..hit.terms }, ..standing.kept_as(hit) };
        // The server looked at its clock after it was asked, so its windows end no earlier.
        let outcome = self.full.hit_one(told + since, &look);
        if u64::from(outcome.remaining) >= hit.terms.cost || self.is_rechecked(now) {
            return None;
        }
        Some(Outcome { over: true, ..outcome })
    }

    /// Whether it is the turn of a counter that is kept as full to be asked for.
    fn is_rechecked(&self, now: Instant) -> bool {
        let mut standing = self.standing.lock();
        standing.is_used = true;
        if now >= standing.recheck_again {
            standing.recheck_again = now + BELIEVED;
            standing.rechecks = RECHECKS;
        }
        let is_left = standing.rechecks > 0;
        standing.rechecks = standing.rechecks.saturating_sub(1);
        is_left
    }

    /// Keeps that a counter, of which a request was refused at `time`, has so much used.
    pub(super) fn learn(&self, hit: &Hit, used: u64, window_end: u64, time: Duration) {
        if !is_kept(hit) {
            return;
        }
        let standing = {
            let mut standing = self.standing.lock();
            standing.is_used = true;
            *standing
        };
        self.ask_again.fetch_max(1, Relaxed);
        // What was decided before the mark was made may have been reset by then.
        if u128::from(standing.mark) < time.as_micros() {
            let used = u32::try_from(used).unwrap_or(u32::MAX);
            self.full.raise(time, &standing.kept_as(hit), used, window_end);
        }
    }

    /// Whether the mark is to be asked for, by this worker and no other.
    pub(super) fn asks(&self, now: Instant) -> bool {
        let due = self.ask_again.load(Relaxed);
        let nanos = now.duration_since(self.started).as_nanos() as u64;
        if due == 0 || nanos < due {
            return false;
        }
        let next = nanos + INTERVAL.as_nanos() as u64;
        if self.ask_again.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return false;
        }
        let was_used = std::mem::take(&mut self.standing.lock().is_used);
        if !was_used {
            self.ask_again.store(0, Relaxed);
        }
        was_used
    }

    /// Takes in what the mark was after `asked`, at the server's `time`.
    pub(super) fn hear(&self, mark: u64, asked: Instant, time: Duration) {
        let mut standing = self.standing.lock();
        if standing.confirmed.is_some_and(|(confirmed, _)| asked <= confirmed) {
            return;
        }
        if standing.mark != mark {
            standing.mark = mark;
            standing.generation += 1;
        }
        standing.confirmed = Some((asked, time));
    }

    /// Forgets a counter that is reset, or to which something is given back.
    pub(super) fn forget(&self, hit: &Hit, time: Duration) {
        let standing = *self.standing.lock();
        self.full.reset(time, &standing.kept_as(hit));
    }

    /// Forgets all: it may be another server that is connected to now.
    pub(super) fn forget_all(&self) {
        let mut standing = self.standing.lock();
        standing.generation += 1;
        standing.confirmed = None;
    }
}

impl Standing {
    /// What a counter is kept as in this generation.
    fn kept_as(&self, hit: &Hit) -> Hit {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        Hit { hash: hit.hash ^ self.generation.wrapping_mul(ODD), ..*hit }
    }
}

fn is_kept(hit: &Hit) -> bool {
    hit.terms.algorithm == Algorithm::FixedWindow && hit.refuses && hit.lease <= 1
}
