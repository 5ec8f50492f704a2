//! What this worker knows of counters without asking: which are full, and of which it has tokens to spend.
//!
//! Within a window a counter only grows, so what it has refused once it refuses until the window ends. Tokens that
//! were taken from it in a lot are the worker's own, to be spent within that window. Both are believed for a second at
//! the most: a counter that was deleted is noticed as soon as that. The table has a fixed size, and an entry gives way
//! to the next that falls on its place, so no number of keys makes it grow.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::batch::{Ask, Asks, Refund};
use crate::{
    key::Counter,
    store::{Found, Hit, Outcome, Outcomes},
};

const ENTRIES: usize = 1024;
const BELIEVED: Duration = Duration::from_secs(1);

/// A lot is at most a tenth of what is left of the limit, so that the last tokens do not lie with workers that nobody
/// asks.
const SHARES_OF_REST: u32 = 10;

pub(super) struct Known {
    hasher: RandomState,
    entries: Box<[Option<Entry>]>,
    /// When to look for tokens that nobody has spent, if there may be some.
    sweep: Option<Instant>,
    refunds: Vec<Refund>,
}

struct Entry {
    hash: u64,
    /// The least that the counter holds, the tokens of this worker included.
    used: u32,
    window_end: u64,
    /// When the window ends, at the earliest, by this machine's monotonic clock.
    ends: Instant,
    /// Until when this is believed.
    until: Instant,
    /// Taken from the counter, and not yet spent.
    tokens: u32,
    /// The counter, where tokens were taken.
    counter: Option<Box<Counter>>,
    /// A lot is under way, and until then no other is asked for.
    asked_until: Option<Instant>,
}

/// What Redis said of a hit.
pub(super) struct Learned {
    pub(super) found: Found,
    /// Whether it was counted.
    pub(super) counted: bool,
    /// When the window ends, at the earliest.
    pub(super) ends: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// There is a token for it.
    Fits,
    /// The counter is at the limit.
    Full,
    /// Redis has to be asked.
    Open,
}

impl Known {
    pub(super) fn new() -> Self {
        let entries = std::iter::repeat_with(|| None).take(ENTRIES).collect();
        Self { hasher: RandomState::new(), entries, sweep: None, refunds: Vec::new() }
    }

    pub(super) fn asks(&self, hits: &[Hit]) -> Asks {
        hits.iter().map(|hit| Ask { hash: self.hasher.hash_one(&hit.counter), lot: 1 }).collect()
    }

    /// Decides a request, if what is known is enough for that.
    pub(super) fn decide(&mut self, hits: &[Hit], asks: &[Ask]) -> Option<Outcomes> {
        if asks.iter().any(|ask| self.entry(ask.hash).is_none()) {
            return None;
        }
        let now = Instant::now();
        let standings = hits.iter().zip(asks).map(|(hit, ask)| self.entry(ask.hash)?.standing(hit, now));
        let standings: SmallVec<[Standing; 1]> = standings.collect::<Option<_>>()?;
        let each = || hits.iter().zip(&standings);
        let refused = each().any(|(hit, standing)| hit.refuses && *standing == Standing::Full);
        let spent = each().all(|(hit, standing)| match standing {
            Standing::Fits => true,
            Standing::Full => !hit.refuses,
            Standing::Open => false,
        });
        if !refused && !spent {
            return None;
        }
        let outcome = |((hit, ask), standing): ((&Hit, &Ask), &Standing)| {
            let entry = self.entries[place(ask.hash)].as_mut()?;
            entry.tokens -= u32::from(!refused && *standing == Standing::Fits);
            Some(entry.outcome(hit, *standing, now))
        };
        hits.iter().zip(asks).zip(&standings).map(outcome).collect()
    }

    /// Chooses how many tokens to ask for, where every rule of the request has a lease: else it goes to Redis anyway,
    /// and tokens for a part of its rules would not spare it that.
    pub(super) fn choose_lots(&mut self, hits: &[Hit], asks: &mut [Ask], deadline: Duration) {
        if hits.iter().all(|hit| hit.lease > 1) {
            let now = Instant::now();
            for (hit, ask) in hits.iter().zip(asks) {
                ask.lot = self.choose_lot(hit, ask.hash, now, deadline);
            }
        }
    }

    fn choose_lot(&mut self, hit: &Hit, hash: u64, now: Instant, deadline: Duration) -> u32 {
        let entry = self.entry(hash).filter(|entry| now < entry.ends);
        let used = entry.map_or(0, |entry| entry.used);
        let lot = (hit.limit.limit.saturating_sub(used) / SHARES_OF_REST).min(hit.lease);
        let is_under_way = self.entry(hash).is_some_and(|entry| entry.asked_until.is_some_and(|until| now < until));
        let has_tokens = entry.is_some_and(|entry| entry.tokens > 0 && now < entry.until);
        if lot <= 1 || is_under_way || has_tokens {
            return 1;
        }
        let mut entry = self.take_place(hash, now);
        // What is left of the last lot is no longer believed in, and goes back before the next one is taken.
        self.refunds.extend(entry.refund(now));
        entry.asked_until = Some(now + deadline);
        self.entries[place(hash)] = Some(entry);
        lot
    }

    /// Keeps what Redis has said of a hit: that there are tokens to spend, or, of a request that was refused, how full
    /// its counter is.
    pub(super) fn learn(&mut self, hit: &Hit, ask: Ask, learned: Learned) {
        let Learned { found, counted, ends } = learned;
        if counted && ask.lot <= 1 {
            return;
        }
        let now = Instant::now();
        let taken = if counted { ask.lot.min(hit.limit.limit.saturating_sub(found.used)) } else { 0 };
        let used = found.used.saturating_add(taken);
        let mut entry = self.take_place(ask.hash, now);
        if entry.window_end != found.window_end || now >= entry.until {
            // The tokens of a window that is over are nobody's.
            self.refunds.extend(entry.refund(now));
            entry.used = 0;
        }
        entry.window_end = found.window_end;
        entry.used = entry.used.max(used);
        entry.ends = ends;
        entry.until = ends.min(now + BELIEVED);
        if ask.lot > 1 {
            // One of these is the request's own.
            entry.tokens += taken.saturating_sub(1);
            entry.counter.get_or_insert_with(|| Box::new(hit.counter.clone()));
            entry.asked_until = None;
            self.sweep.get_or_insert(now + BELIEVED);
        }
        self.entries[place(ask.hash)] = Some(entry);
    }

    /// Tokens that are to be given back: those that gave way to others, and, looked for once a second, those that
    /// nobody has spent.
    pub(super) fn refunds(&mut self) -> Vec<Refund> {
        if self.sweep.is_some_and(|sweep| Instant::now() >= sweep) {
            let now = Instant::now();
            let unspent = |entry: &mut Entry| if now >= entry.until { entry.refund(now) } else { None };
            self.refunds.extend(self.entries.iter_mut().flatten().filter_map(unspent));
            let any = self.entries.iter().flatten().any(|entry| entry.tokens > 0);
            self.sweep = any.then_some(now + BELIEVED);
        }
        std::mem::take(&mut self.refunds)
    }

    fn entry(&self, hash: u64) -> Option<&Entry> {
        self.entries[place(hash)].as_ref().filter(|entry| entry.hash == hash)
    }

    /// The entry of `hash`, out of its place, or an empty one in place of another.
    fn take_place(&mut self, hash: u64, now: Instant) -> Entry {
        let mut entry = self.entries[place(hash)].take();
        if let Some(other) = entry.as_mut().filter(|entry| entry.hash != hash) {
            self.refunds.extend(other.refund(now));
        }
        entry.filter(|entry| entry.hash == hash).unwrap_or_else(|| Entry::new(hash, now))
    }
}

impl Entry {
    fn new(hash: u64, now: Instant) -> Self {
        let (tokens, counter, asked_until) = (0, None, None);
        Self { hash, used: 0, window_end: 0, ends: now, until: now, tokens, counter, asked_until }
    }

    /// How `hit` stands; `None` where this is not to be believed any more.
    fn standing(&self, hit: &Hit, now: Instant) -> Option<Standing> {
        if now >= self.until {
            return None;
        }
        // Handlers that share a counter may have different limits.
        let used_by_others = self.used.saturating_sub(self.tokens);
        Some(match used_by_others < hit.limit.limit {
            true if self.tokens > 0 => Standing::Fits,
            true => Standing::Open,
            false => Standing::Full,
        })
    }

    fn outcome(&self, hit: &Hit, standing: Standing, now: Instant) -> Outcome {
        let left = self.ends.saturating_duration_since(now);
        let retry_after = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Outcome {
            remaining: hit.limit.limit.saturating_sub(self.used.saturating_sub(self.tokens)),
            reset: self.window_end,
            retry_after: u32::try_from(retry_after).unwrap_or(u32::MAX).max(1),
            over: standing == Standing::Full,
        }
    }

    /// Gives up the tokens; they go back, if their window is not over.
    fn refund(&mut self, now: Instant) -> Option<Refund> {
        let tokens = std::mem::take(&mut self.tokens);
        self.used = self.used.saturating_sub(tokens);
        let counter = self.counter.take()?;
        (tokens > 0 && now < self.ends).then(|| Refund { counter: *counter, window_end: self.window_end, tokens })
    }
}

fn place(hash: u64) -> usize {
    hash as usize % ENTRIES
}
