//! The deny cache: the full counters of fixed windows and the blocked subjects, for all workers of the process.
//!
//! Within a fixed window a counter only grows, unless it is reset or a refund reaches it. Either removes a key beside the
//! counters, the mark, which holds the time at which it was made. While the cache refuses requests, one worker reads the mark
//! several times a second, and makes it again if it is gone. As long as the mark is the same, the entries hold; a new mark empties
//! the cache. A server that lost its counters has lost the mark, too. So a reset or a refund takes effect within [`VALID`].
//!
//! A counter that is deleted by hand, or evicted, leaves the mark as it is. That is why some requests go to Redis although the
//! cache could refuse them.
//!
//! The table has room for a fixed number of counters. A counter that does not fit is sent to Redis. Several rules, leases and
//! other algorithms are left to the [leases](super::leases) of each worker, and so are clusters, whose nodes share no clock.

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
    rule::{
        algorithm::Algorithm,
        terms::{CounterState, Terms},
    },
    store::{Hit, memory::MemoryStore},
};

/// How many counters there is room for. The table takes 4 MB of address space, and memory as it is touched.
const CAPACITY: usize = 100_000;

/// How long a reading of the mark is valid.
const VALID: Duration = Duration::from_secs(1);

/// How often the mark is read.
const INTERVAL: Duration = Duration::from_millis(250);

/// How many requests per second go to Redis although the cache could refuse them.
const RECHECKS: u32 = 1000;

/// The part that all workers share. A request reads only the atomics: it takes no lock that another worker may hold.
pub(crate) struct DenyCache {
    started: Instant,
    /// When to read the mark again, in nanoseconds since the start; zero while there is nothing to refuse.
    mark_due: AtomicU64,
    /// Whether the cache was used since the mark was last read.
    is_used: AtomicBool,
    /// How many requests may still go to Redis before `recheck_due`, which is in nanoseconds since the start.
    rechecks: AtomicU32,
    recheck_due: AtomicU64,
    /// Changes with `full_counters`.
    version: AtomicU64,
    full_counters: Mutex<FullCounters>,
}

#[derive(Clone)]
struct FullCounters {
    /// The full counters. Each mark has its own table, so that old entries do not displace new ones.
    full: Arc<MemoryStore>,
    /// The mark, in microseconds since the epoch by the server's clock.
    mark: u64,
    /// When the last reading of the mark was sent, and the server's time in the answer.
    confirmed: Option<(Instant, Duration)>,
}

/// One worker's copy of the full counters. The original changes a few times a second.
pub(crate) struct DenyCacheView {
    cache: Arc<DenyCache>,
    version: u64,
    full_counters: FullCounters,
}

impl DenyCache {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            mark_due: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
            rechecks: AtomicU32::new(0),
            recheck_due: AtomicU64::new(0),
            version: AtomicU64::new(0),
            full_counters: Mutex::new(FullCounters { full: empty(), mark: 0, confirmed: None }),
        }
    }

    /// Whether this request goes to Redis although the cache could refuse it.
    fn is_rechecked(&self, now: Instant) -> bool {
        let (nanos, due) = (self.nanos(now), self.recheck_due.load(Relaxed));
        let next = nanos + VALID.as_nanos() as u64;
        if nanos >= due && self.recheck_due.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
            self.rechecks.store(RECHECKS, Relaxed);
        }
        // Mostly none is left. A load alone leaves the cache line shared between the workers.
        self.rechecks.load(Relaxed) > 0
            && self.rechecks.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Whether this worker, and no other, is to read the mark now.
    pub(crate) fn takes_mark_turn(&self, now: Instant) -> bool {
        let (nanos, due) = (self.nanos(now), self.mark_due.load(Relaxed));
        if due == 0 || nanos < due {
            return false;
        }
        let next = nanos + INTERVAL.as_nanos() as u64;
        if self.mark_due.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return false;
        }
        let was_used = self.is_used.swap(false, Relaxed);
        if !was_used {
            self.mark_due.store(0, Relaxed);
        }
        was_used
    }

    /// Handles a reading of the mark that was sent at `sent` and answered at the server's `time`.
    pub(crate) fn observe_mark(&self, mark: u64, sent: Instant, time: Duration) {
        self.change(|full_counters| {
            if full_counters.confirmed.is_some_and(|(confirmed, _)| sent <= confirmed) {
                return;
            }
            if full_counters.mark != mark {
                full_counters.mark = mark;
                full_counters.full = empty();
            }
            full_counters.confirmed = Some((sent, time));
        });
    }

    /// Empties the cache. A new connection may lead to another server.
    pub(crate) fn forget_all(&self) {
        self.change(|full_counters| {
            full_counters.full = empty();
            full_counters.confirmed = None;
        });
    }

    fn change(&self, act: impl FnOnce(&mut FullCounters)) {
        let mut full_counters = self.full_counters.lock();
        act(&mut full_counters);
        // Under the lock: a view that sees this version copies its counters, or later ones.
        self.version.fetch_add(1, Release);
    }

    fn mark_used(&self) {
        // Stored once between two readings of the mark. A load alone leaves the cache line shared between the workers.
        if !self.is_used.load(Relaxed) {
            self.is_used.store(true, Relaxed);
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_nanos() as u64
    }
}

impl DenyCacheView {
    pub(crate) fn new(cache: Arc<DenyCache>) -> Self {
        let (version, full_counters) = (cache.version.load(Acquire), cache.full_counters.lock().clone());
        Self { cache, version, full_counters }
    }

    fn full_counters(&mut self) -> &FullCounters {
        let version = self.cache.version.load(Acquire);
        if version != self.version {
            self.version = version;
            self.full_counters = self.cache.full_counters.lock().clone();
        }
        &self.full_counters
    }

    /// Refuses a request whose counter is full.
    pub(crate) fn refuse(&mut self, hit: &Hit, now: Instant) -> Option<Outcome> {
        if self.cache.mark_due.load(Relaxed) == 0 || !is_covered(hit) {
            return None;
        }
        let full_counters = self.full_counters();
        let (sent, time_then) = full_counters.confirmed?;
        let since = now.saturating_duration_since(sent);
        if since >= VALID {
            return None;
        }
        // The server read its clock after the request was sent, so its windows end no earlier than this.
        let time = time_then + since;
        // A hit of cost zero reads the counter and does not change it.
        let look = Hit { terms: Terms { cost: 0, ..hit.terms }, block: None, ..*hit };
        let counted = is_window(hit).then(|| full_counters.full.hit_one(time, &look));
        let full = counted.filter(|outcome| {
            let is_full = u64::from(outcome.remaining) < hit.terms.cost;
            // A server whose clock was set back counts in an earlier window than the cached one.
            is_full && outcome.window_end == hit.terms.window_end(time.as_secs())
        });
        let outcome = match full_counters.full.blocked_until(time, hit) {
            Some(until) => {
                let fits_at = full.map_or(0, |full| full.reset);
                hit.outcome(CounterState::Blocked { until, fits_at }, false, false, time)
            }
            None => full?,
        };
        self.cache.mark_used();
        (!self.cache.is_rechecked(now)).then_some(Outcome { over: true, ..outcome })
    }

    /// Stores how much of a counter is used after a refusal at the server's `time`, and whether its subject is blocked.
    pub(crate) fn learn(&mut self, hit: &Hit, used: u64, outcome: &Outcome, time: Duration) {
        // The cache cannot tell when a request fits after the block, unless the rule has windows. The worker's own cache can, for a second.
        let fits_later = outcome.is_blocked && outcome.reset > outcome.window_end;
        if !is_covered(hit) || fits_later && !is_window(hit) {
            return;
        }
        let full_counters = self.full_counters();
        // A decision from before the mark may have been followed by a reset.
        if u128::from(full_counters.mark) < time.as_micros() {
            let until = outcome.is_blocked.then_some(outcome.window_end);
            full_counters.full.note_block(time, hit, until);
            let raise = |used, end| full_counters.full.raise(time, hit, u32::try_from(used).unwrap_or(u32::MAX), end);
            match until {
                None if is_window(hit) && outcome.over => raise(used, outcome.window_end),
                // A block hides the count. All that is known is that this request does not fit.
                Some(_) if fits_later => {
                    raise((u64::from(hit.terms.capacity()) + 1).saturating_sub(hit.terms.cost), outcome.reset);
                }
                _ => {}
            }
        }
        if !outcome.over {
            return;
        }
        self.cache.mark_used();
        if self.cache.mark_due.load(Relaxed) == 0 {
            self.cache.mark_due.fetch_max(1, Relaxed);
        }
    }
}

fn empty() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(CAPACITY))
}

fn is_covered(hit: &Hit) -> bool {
    (is_window(hit) || hit.block.is_some()) && hit.refuses && hit.lease <= 1
}

/// Whether a full counter stays full until its window ends. A block does under any algorithm.
fn is_window(hit: &Hit) -> bool {
    hit.terms.algorithm == Algorithm::FixedWindow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{block::Block, limit::Limit};

    const PER: u32 = 100;
    /// In the window from 1000 to 1100.
    const TIME: Duration = Duration::from_secs(1010);

    fn hit() -> Hit {
        let limit = Limit { limit: 5, per: PER };
        let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
        Hit { hash: 0x1234_5678_9abc_def0, terms, refuses: true, lease: 1, on_store_error: None, place: 0, block: None }
    }

    fn mark(time: Duration) -> u64 {
        time.as_micros() as u64
    }

    /// The outcome of a request that was refused in the window that ends at 1100.
    fn refusal() -> Outcome {
        Outcome { over: true, window_end: 1100, ..Outcome::taking(0) }
    }

    /// A full counter and a valid mark, with all rechecks used up.
    fn full() -> (Arc<DenyCache>, DenyCacheView, Instant) {
        let (cache, now) = (Arc::new(DenyCache::new()), Instant::now());
        let mut view = DenyCacheView::new(Arc::clone(&cache));
        cache.observe_mark(mark(TIME), now, TIME);
        view.learn(&hit(), 5, &refusal(), TIME + Duration::from_millis(1));
        for _ in 0..RECHECKS {
            assert_eq!(view.refuse(&hit(), now), None);
        }
        (cache, view, now)
    }

    #[test]
    fn a_full_counter_refuses_until_its_window_ends() {
        let (cache, mut view, now) = full();
        let outcome = view.refuse(&hit(), now + Duration::from_millis(500));
        let time_then =
            outcome.map(|time_then| (time_then.over, time_then.remaining, time_then.reset, time_then.retry_after));
        assert_eq!(time_then, Some((true, 0, 1100, 90)));
        let last = now + Duration::from_secs(2);
        cache.observe_mark(mark(TIME), last, Duration::from_millis(1_099_900));
        assert_eq!(view.refuse(&hit(), last + Duration::from_millis(100)), None);
    }

    #[test]
    fn a_blocked_subject_is_refused_until_the_later_of_the_blocks_end_and_the_time_at_which_it_fits() {
        static BLOCK: Block = Block { durations: &[10] };
        let (_, mut view, now) = full();
        let blocked = |cost| Hit { terms: Terms { cost, ..hit().terms }, hash: 7, block: Some(&BLOCK), ..hit() };
        let block_end = TIME.as_secs() + 10;
        let refusal = Outcome { reset: 1100, window_end: block_end, is_blocked: true, ..refusal() };
        view.learn(&blocked(3), 5, &refusal, TIME + Duration::from_millis(1));
        let mut resets = [1, 2, 3].map(|cost| view.refuse(&blocked(cost), now).map(|outcome| outcome.reset));
        assert_eq!(resets, [Some(block_end), Some(block_end), Some(1100)]);
        // Somebody has lifted the block.
        view.learn(
            &blocked(1),
            0,
            &Outcome { over: false, is_blocked: false, ..refusal },
            TIME + Duration::from_millis(2),
        );
        resets = [1, 2, 3].map(|cost| view.refuse(&blocked(cost), now).map(|outcome| outcome.reset));
        assert_eq!(resets, [None, None, Some(1100)]);
    }

    #[test]
    fn a_request_that_costs_no_more_than_what_is_left_is_not_refused() {
        let (_, mut view, now) = full();
        let cost = |cost| Hit { terms: Terms { cost, ..hit().terms }, hash: 7, ..hit() };
        view.learn(&cost(3), 3, &refusal(), TIME + Duration::from_millis(1));
        assert_eq!([1, 2, 3].map(|tokens| view.refuse(&cost(tokens), now).is_some()), [false, false, true]);
    }

    #[test]
    fn what_was_read_of_the_mark_is_good_for_a_second() {
        let (_, mut view, now) = full();
        assert_eq!(view.refuse(&hit(), now + VALID), None);
    }

    #[test]
    fn another_mark_forgets_and_the_same_does_not() {
        let (cache, mut view, now) = full();
        let later = now + Duration::from_millis(300);
        cache.observe_mark(mark(TIME), later, TIME);
        assert!(view.refuse(&hit(), later).is_some());
        cache.observe_mark(mark(TIME) + 1, later + Duration::from_millis(300), TIME);
        assert_eq!(view.refuse(&hit(), later + Duration::from_millis(300)), None);
    }

    #[test]
    fn an_answer_that_comes_late_tells_nothing() {
        let (cache, mut view, now) = full();
        cache.observe_mark(mark(TIME) + 1, now, TIME);
        assert!(view.refuse(&hit(), now).is_some(), "the mark was sent for no later");
        let later = now + Duration::from_millis(1);
        cache.observe_mark(mark(TIME) + 2_000_000, later, TIME + Duration::from_secs(2));
        view.learn(&hit(), 5, &refusal(), TIME + Duration::from_secs(1));
        assert_eq!(view.refuse(&hit(), later), None, "the request was refused before the mark was made");
    }

    #[test]
    fn a_server_whose_clock_is_set_back_counts_in_another_window() {
        let (cache, mut view, now) = full();
        let later = now + Duration::from_millis(300);
        cache.observe_mark(mark(TIME), later, TIME - Duration::from_secs(20));
        assert_eq!(view.refuse(&hit(), later), None);
    }

    #[test]
    fn what_one_worker_learns_all_refuse() {
        let (cache, _, now) = full();
        assert!(DenyCacheView::new(Arc::clone(&cache)).refuse(&hit(), now).is_some());
        let mut other = DenyCacheView::new(Arc::clone(&cache));
        cache.forget_all();
        assert_eq!(other.refuse(&hit(), now), None);
    }

    #[test]
    fn the_mark_is_read_while_requests_are_refused() {
        let (cache, mut view, now) = full();
        let first = now + Duration::from_millis(1);
        assert!(cache.takes_mark_turn(first));
        assert!(!cache.takes_mark_turn(first + INTERVAL / 2));
        assert!(!cache.takes_mark_turn(first + INTERVAL), "nobody was refused since");
        view.learn(&hit(), 5, &refusal(), TIME + Duration::from_millis(1));
        assert!(cache.takes_mark_turn(first + INTERVAL * 2));
    }
}
