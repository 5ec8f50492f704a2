//! The deny cache: which counters are full, for all workers of this process, until their windows end.
//!
//! Within a fixed window a counter only grows, unless it is reset or something is given back to it. Either removes a key
//! beside the counters, the mark, which holds the time at which it was made. While requests are refused by this cache, a worker
//! reads the mark several times a second, and makes it if it is gone: as long as it is the same, so is what is kept here, and
//! once it is another, nothing is. A server that has lost its counters has lost the mark with them. So what was reset, or given
//! back, is seen within [`BELIEVED`].
//!
//! Who deletes a counter by hand leaves the mark, and so does a server that evicts one: that is why Redis is asked about some
//! in spite of what is kept.
//!
//! It is a table for as many counters as it has room for, whoever comes; what does not fit is asked for again. Several rules,
//! leases, and what is no fixed window are left to what each worker [knows](super::known); and so are clusters,
//! whose nodes have no time in common.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
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
    started: Instant,
    /// When to ask for the mark again, in nanoseconds since the start; zero while there is nothing to refuse. Without a lock,
    /// since each request looks at it.
    ask_again: AtomicU64,
    standing: Mutex<Standing>,
}

struct Standing {
    /// The counters that are full: another table for each mark, so that what no longer holds is not in the way of what does.
    full: Arc<MemoryStore>,
    /// What the mark was, in microseconds since the epoch by the server's clock.
    mark: u64,
    /// When it was asked for, of the last time that it was answered, and the server's time of the answer.
    confirmed: Option<(Instant, Duration)>,
    /// Whether there was something to refuse since it was last asked for.
    is_used: bool,
    rechecks: u32,
    recheck_again: Instant,
}

impl Denials {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let standing =
            Standing { full: empty(), mark: 0, confirmed: None, is_used: false, rechecks: 0, recheck_again: now };
        Self { started: now, ask_again: AtomicU64::new(0), standing: Mutex::new(standing) }
    }

    /// Refuses a request whose counter is full.
    pub(super) fn refuse(&self, hit: &Hit, now: Instant) -> Option<Outcome> {
        if self.ask_again.load(Relaxed) == 0 || !is_kept(hit) {
            return None;
        }
        let (full, (asked, told)) = {
            let standing = self.standing.lock();
            (Arc::clone(&standing.full), standing.confirmed?)
        };
        let since = now.duration_since(asked);
        if since >= BELIEVED {
            return None;
        }
        // The server looked at its clock after it was asked, so its windows end no earlier.
        let time = told + since;
        // To look costs nothing.
        let look = Hit { terms: Terms { cost: 0, ..hit.terms }, ..*hit };
        let outcome = full.hit_one(time, &look);
        let is_full = u64::from(outcome.remaining) < hit.terms.cost;
        // Where the server's clock was set back, it counts in an earlier window than the one that is kept.
        let is_current = outcome.window_end == hit.terms.window_end(time.as_secs());
        if !is_full || !is_current || self.is_rechecked(now) {
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
        let (full, mark) = {
            let mut standing = self.standing.lock();
            standing.is_used = true;
            (Arc::clone(&standing.full), standing.mark)
        };
        self.ask_again.fetch_max(1, Relaxed);
        // What was decided before the mark was made may have been reset by then.
        if u128::from(mark) < time.as_micros() {
            full.raise(time, hit, u32::try_from(used).unwrap_or(u32::MAX), window_end);
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
            standing.full = empty();
        }
        standing.confirmed = Some((asked, time));
    }

    /// Forgets a counter that is reset, or to which something is given back.
    pub(super) fn forget(&self, hit: &Hit, time: Duration) {
        let full = Arc::clone(&self.standing.lock().full);
        full.reset(time, hit);
    }

    /// Forgets all: it may be another server that is connected to now.
    pub(super) fn forget_all(&self) {
        let mut standing = self.standing.lock();
        standing.full = empty();
        standing.confirmed = None;
    }
}

fn empty() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(CAPACITY))
}

fn is_kept(hit: &Hit) -> bool {
    hit.terms.algorithm == Algorithm::FixedWindow && hit.refuses && hit.lease <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Limit;

    const PER: u32 = 100;
    /// Of the windows that end at 1000 and at 1100.
    const TIME: Duration = Duration::from_secs(1010);

    fn hit() -> Hit {
        let limit = Limit { limit: 5, per: PER };
        let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
        Hit { hash: 0x1234_5678_9abc_def0, terms, refuses: true, lease: 1, on_store_error: None }
    }

    fn mark(time: Duration) -> u64 {
        time.as_micros() as u64
    }

    /// A full counter, and the mark as it was read then, when nothing is to be asked for in spite of it any more.
    fn full() -> (Denials, Instant) {
        let (denials, now) = (Denials::new(), Instant::now());
        denials.hear(mark(TIME), now, TIME);
        denials.learn(&hit(), 5, 1100, TIME + Duration::from_millis(1));
        for _ in 0..RECHECKS {
            assert_eq!(denials.refuse(&hit(), now), None);
        }
        (denials, now)
    }

    #[test]
    fn a_full_counter_refuses_until_its_window_ends() {
        let (denials, now) = full();
        let outcome = denials.refuse(&hit(), now + Duration::from_millis(500));
        let told = outcome.map(|told| (told.over, told.remaining, told.reset, told.retry_after));
        assert_eq!(told, Some((true, 0, 1100, 90)));
        let last = now + Duration::from_secs(2);
        denials.hear(mark(TIME), last, Duration::from_millis(1_099_900));
        assert_eq!(denials.refuse(&hit(), last + Duration::from_millis(100)), None);
    }

    #[test]
    fn what_was_read_of_the_mark_is_good_for_a_second() {
        let (denials, now) = full();
        assert_eq!(denials.refuse(&hit(), now + BELIEVED), None);
    }

    #[test]
    fn another_mark_forgets_and_the_same_does_not() {
        let (denials, now) = full();
        let later = now + Duration::from_millis(300);
        denials.hear(mark(TIME), later, TIME);
        assert!(denials.refuse(&hit(), later).is_some());
        denials.hear(mark(TIME) + 1, later + Duration::from_millis(300), TIME);
        assert_eq!(denials.refuse(&hit(), later + Duration::from_millis(300)), None);
    }

    #[test]
    fn an_answer_that_comes_late_tells_nothing() {
        let (denials, now) = full();
        denials.hear(mark(TIME) + 1, now, TIME);
        assert!(denials.refuse(&hit(), now).is_some(), "the mark was asked for no later");
        let later = now + Duration::from_millis(1);
        denials.hear(mark(TIME) + 2_000_000, later, TIME + Duration::from_secs(2));
        denials.learn(&hit(), 5, 1100, TIME + Duration::from_secs(1));
        assert_eq!(denials.refuse(&hit(), later), None, "the request was refused before the mark was made");
    }

    #[test]
    fn a_server_whose_clock_is_set_back_counts_in_another_window() {
        let (denials, now) = full();
        let later = now + Duration::from_millis(300);
        denials.hear(mark(TIME), later, TIME - Duration::from_secs(20));
        assert_eq!(denials.refuse(&hit(), later), None);
    }

    #[test]
    fn the_mark_is_asked_for_while_somebody_is_refused() {
        let (denials, now) = full();
        let first = now + Duration::from_millis(1);
        assert!(denials.asks(first));
        assert!(!denials.asks(first + INTERVAL / 2));
        assert!(!denials.asks(first + INTERVAL), "nobody was refused since");
        denials.learn(&hit(), 5, 1100, TIME + Duration::from_millis(1));
        assert!(denials.asks(first + INTERVAL * 2));
    }
}
