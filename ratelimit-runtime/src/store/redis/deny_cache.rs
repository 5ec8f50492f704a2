//! The deny cache: which counters are full, for all workers of this process, until their windows end.
//!
//! Within a fixed window a counter only grows, unless it is reset or something is refunded to it. Either removes a key
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
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    decision::outcome::Outcome,
    rule::{algorithm::Algorithm, terms::Terms},
    store::{Hit, memory::MemoryStore},
};

/// In 4 MB, of which the operating system gives what is touched.
const CAPACITY: usize = 100_000;

/// For how long what was read of the mark is taken to be so.
const BELIEVED: Duration = Duration::from_secs(1);

/// How often it is read.
const INTERVAL: Duration = Duration::from_millis(250);

/// About how many counters Redis is asked each second, though they are kept as full.
const RECHECKS: u32 = 1000;

/// What all workers of the process know. A request reads the atomics only: it takes no lock that another worker may hold.
pub(crate) struct DenyCache {
    started: Instant,
    /// When to ask for the mark again, in nanoseconds since the start; zero while there is nothing to refuse.
    ask_again: AtomicU64,
    /// Whether there was something to refuse since the mark was last asked for.
    is_used: AtomicBool,
    /// How many counters may still be asked for before `recheck_again`, which is in nanoseconds since the start.
    rechecks: AtomicU32,
    recheck_again: AtomicU64,
    /// Becomes another when `standing` does.
    version: AtomicU64,
    standing: Mutex<Standing>,
}

#[derive(Clone)]
struct Standing {
    /// The counters that are full: another table for each mark, so that what no longer holds is not in the way of what does.
    full: Arc<MemoryStore>,
    /// What the mark was, in microseconds since the epoch by the server's clock.
    mark: u64,
    /// When it was asked for, of the last time that it was answered, and the server's time of the answer.
    confirmed: Option<(Instant, Duration)>,
}

/// One worker's copy of the standing, which changes a few times a second.
pub(crate) struct View {
    deny_cache: Arc<DenyCache>,
    version: u64,
    standing: Standing,
}

impl DenyCache {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            ask_again: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
            rechecks: AtomicU32::new(0),
            recheck_again: AtomicU64::new(0),
            version: AtomicU64::new(0),
            standing: Mutex::new(Standing { full: empty(), mark: 0, confirmed: None }),
        }
    }

    /// Whether it is the turn of a counter that is kept as full to be asked for.
    fn is_rechecked(&self, now: Instant) -> bool {
        let (nanos, due) = (self.nanos(now), self.recheck_again.load(Relaxed));
        let next = nanos + BELIEVED.as_nanos() as u64;
        if nanos >= due && self.recheck_again.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
            self.rechecks.store(RECHECKS, Relaxed);
        }
        // Looked at first: as a rule none is left, and then nothing is written that other workers read.
        self.rechecks.load(Relaxed) > 0
            && self.rechecks.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Whether the mark is to be asked for, by this worker and no other.
    pub(crate) fn asks(&self, now: Instant) -> bool {
        let (nanos, due) = (self.nanos(now), self.ask_again.load(Relaxed));
        if due == 0 || nanos < due {
            return false;
        }
        let next = nanos + INTERVAL.as_nanos() as u64;
        if self.ask_again.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return false;
        }
        let was_used = self.is_used.swap(false, Relaxed);
        if !was_used {
            self.ask_again.store(0, Relaxed);
        }
        was_used
    }

    /// Takes in what the mark was after `asked`, at the server's `time`.
    pub(crate) fn hear(&self, mark: u64, asked: Instant, time: Duration) {
        self.change(|standing| {
            if standing.confirmed.is_some_and(|(confirmed, _)| asked <= confirmed) {
                return;
            }
            if standing.mark != mark {
                standing.mark = mark;
                standing.full = empty();
            }
            standing.confirmed = Some((asked, time));
        });
    }

    /// Forgets all: it may be another server that is connected to now.
    pub(crate) fn forget_all(&self) {
        self.change(|standing| {
            standing.full = empty();
            standing.confirmed = None;
        });
    }

    fn change(&self, act: impl FnOnce(&mut Standing)) {
        let mut standing = self.standing.lock();
        act(&mut standing);
        // While it is locked: whoever finds this version copies what belongs to it, or something later.
        self.version.fetch_add(1, Release);
    }

    fn use_it(&self) {
        // Looked at first: written once between two questions for the mark, it is read from each processor's own cache.
        if !self.is_used.load(Relaxed) {
            self.is_used.store(true, Relaxed);
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_nanos() as u64
    }
}

impl View {
    pub(crate) fn new(deny_cache: Arc<DenyCache>) -> Self {
        let (version, standing) = (deny_cache.version.load(Acquire), deny_cache.standing.lock().clone());
        Self { deny_cache, version, standing }
    }

    fn standing(&mut self) -> &Standing {
        let version = self.deny_cache.version.load(Acquire);
        if version != self.version {
            self.version = version;
            self.standing = self.deny_cache.standing.lock().clone();
        }
        &self.standing
    }

    /// Refuses a request whose counter is full.
    pub(crate) fn refuse(&mut self, hit: &Hit, now: Instant) -> Option<Outcome> {
        if self.deny_cache.ask_again.load(Relaxed) == 0 || !is_kept(hit) {
            return None;
        }
        let standing = self.standing();
        let (asked, told) = standing.confirmed?;
        let since = now.saturating_duration_since(asked);
        if since >= BELIEVED {
            return None;
        }
        // The server looked at its clock after it was asked, so its windows end no earlier.
        let time = told + since;
        // To look costs nothing.
        let look = Hit { terms: Terms { cost: 0, ..hit.terms }, ..*hit };
        let outcome = standing.full.hit_one(time, &look);
        let is_full = u64::from(outcome.remaining) < hit.terms.cost;
        // Where the server's clock was set back, it counts in an earlier window than the one that is kept.
        let is_current = outcome.window_end == hit.terms.window_end(time.as_secs());
        if !is_full || !is_current {
            return None;
        }
        self.deny_cache.use_it();
        (!self.deny_cache.is_rechecked(now)).then_some(Outcome { over: true, ..outcome })
    }

    /// Keeps that a counter, of which a request was refused at `time`, has so much used.
    pub(crate) fn learn(&mut self, hit: &Hit, used: u64, window_end: u64, time: Duration) {
        if !is_kept(hit) {
            return;
        }
        let standing = self.standing();
        // What was decided before the mark was made may have been reset by then.
        if u128::from(standing.mark) < time.as_micros() {
            standing.full.raise(time, hit, u32::try_from(used).unwrap_or(u32::MAX), window_end);
        }
        self.deny_cache.use_it();
        if self.deny_cache.ask_again.load(Relaxed) == 0 {
            self.deny_cache.ask_again.fetch_max(1, Relaxed);
        }
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
    use crate::rule::limit::Limit;

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
    fn full() -> (Arc<DenyCache>, View, Instant) {
        let (deny_cache, now) = (Arc::new(DenyCache::new()), Instant::now());
        let mut view = View::new(Arc::clone(&deny_cache));
        deny_cache.hear(mark(TIME), now, TIME);
        view.learn(&hit(), 5, 1100, TIME + Duration::from_millis(1));
        for _ in 0..RECHECKS {
            assert_eq!(view.refuse(&hit(), now), None);
        }
        (deny_cache, view, now)
    }

    #[test]
    fn a_full_counter_refuses_until_its_window_ends() {
        let (deny_cache, mut view, now) = full();
        let outcome = view.refuse(&hit(), now + Duration::from_millis(500));
        let told = outcome.map(|told| (told.over, told.remaining, told.reset, told.retry_after));
        assert_eq!(told, Some((true, 0, 1100, 90)));
        let last = now + Duration::from_secs(2);
        deny_cache.hear(mark(TIME), last, Duration::from_millis(1_099_900));
        assert_eq!(view.refuse(&hit(), last + Duration::from_millis(100)), None);
    }

    #[test]
    fn a_request_that_costs_no_more_than_what_is_left_is_not_refused() {
        let (_, mut view, now) = full();
        let cost = |cost| Hit { terms: Terms { cost, ..hit().terms }, hash: 7, ..hit() };
        view.learn(&cost(3), 3, 1100, TIME + Duration::from_millis(1));
        assert_eq!([1, 2, 3].map(|tokens| view.refuse(&cost(tokens), now).is_some()), [false, false, true]);
    }

    #[test]
    fn what_was_read_of_the_mark_is_good_for_a_second() {
        let (_, mut view, now) = full();
        assert_eq!(view.refuse(&hit(), now + BELIEVED), None);
    }

    #[test]
    fn another_mark_forgets_and_the_same_does_not() {
        let (deny_cache, mut view, now) = full();
        let later = now + Duration::from_millis(300);
        deny_cache.hear(mark(TIME), later, TIME);
        assert!(view.refuse(&hit(), later).is_some());
        deny_cache.hear(mark(TIME) + 1, later + Duration::from_millis(300), TIME);
        assert_eq!(view.refuse(&hit(), later + Duration::from_millis(300)), None);
    }

    #[test]
    fn an_answer_that_comes_late_tells_nothing() {
        let (deny_cache, mut view, now) = full();
        deny_cache.hear(mark(TIME) + 1, now, TIME);
        assert!(view.refuse(&hit(), now).is_some(), "the mark was asked for no later");
        let later = now + Duration::from_millis(1);
        deny_cache.hear(mark(TIME) + 2_000_000, later, TIME + Duration::from_secs(2));
        view.learn(&hit(), 5, 1100, TIME + Duration::from_secs(1));
        assert_eq!(view.refuse(&hit(), later), None, "the request was refused before the mark was made");
    }

    #[test]
    fn a_server_whose_clock_is_set_back_counts_in_another_window() {
        let (deny_cache, mut view, now) = full();
        let later = now + Duration::from_millis(300);
        deny_cache.hear(mark(TIME), later, TIME - Duration::from_secs(20));
        assert_eq!(view.refuse(&hit(), later), None);
    }

    #[test]
    fn what_one_worker_learns_all_refuse() {
        let (deny_cache, _, now) = full();
        assert!(View::new(Arc::clone(&deny_cache)).refuse(&hit(), now).is_some());
        let mut other = View::new(Arc::clone(&deny_cache));
        deny_cache.forget_all();
        assert_eq!(other.refuse(&hit(), now), None);
    }

    #[test]
    fn the_mark_is_asked_for_while_somebody_is_refused() {
        let (deny_cache, mut view, now) = full();
        let first = now + Duration::from_millis(1);
        assert!(deny_cache.asks(first));
        assert!(!deny_cache.asks(first + INTERVAL / 2));
        assert!(!deny_cache.asks(first + INTERVAL), "nobody was refused since");
        view.learn(&hit(), 5, 1100, TIME + Duration::from_millis(1));
        assert!(deny_cache.asks(first + INTERVAL * 2));
    }
}
