//! One worker's table of counters: tokens taken in advance, and counters that refused lately.
//!
//! Within a fixed window a counter only grows, unless a refund or a reset reaches it, so a refusal holds until the window ends.
//! With other algorithms it holds until the time that the refusal names. The tokens of a lease belong to this worker, within
//! their window. An entry is valid for at most one second; then Redis decides again. The table has a fixed size, and the
//! next entry with the same index replaces an old one, so no number of keys makes it grow.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::{
    decision::outcome::{Outcome, Outcomes},
    rule::terms::Terms,
    store::{
        Hit,
        redis::{
            cache::cached_counter::{CachedCounter, Fit, Observation},
            work::{KeyedHit, Refund},
        },
    },
};

const ENTRIES: usize = 1024;

/// How long an entry is valid.
const VALID: Duration = Duration::from_secs(1);

/// A lease is at most a tenth of what remains, so that the last tokens do not lie with workers that get no requests.
const SHARES_OF_REST: u64 = 10;

/// The counters that one worker remembers.
pub(crate) struct Leases {
    /// How long a lease may be in flight.
    deadline: Duration,
    entries: Box<[Option<CachedCounter>]>,
    /// When to look for unspent tokens, if there may be some.
    sweep: Option<Instant>,
    refunds: Vec<Refund>,
    /// Leases to take before the last one is spent.
    refills: Vec<KeyedHit>,
}

impl Leases {
    pub(crate) fn new(deadline: Duration) -> Self {
        let entries = std::iter::repeat_with(|| None).take(ENTRIES).collect();
        Self { deadline, entries, sweep: None, refunds: Vec::new(), refills: Vec::new() }
    }

    /// Decides a request if the entries of its counters are enough for that.
    pub(crate) fn decide(&mut self, hits: &[Hit], now: Instant) -> Option<Outcomes> {
        if let [hit] = hits {
            // Most handlers have one rule. It needs no list.
            return self.decide_one(hit, now).map(|outcome| Outcomes::from_buf([outcome]));
        }
        if hits.iter().any(|hit| self.entry(hit.hash).is_none()) {
            return None;
        }
        let fits = hits.iter().map(|hit| self.entry(hit.hash)?.fit(hit, now));
        let fits: SmallVec<[Fit; 1]> = fits.collect::<Option<_>>()?;
        let each = || hits.iter().zip(&fits);
        let refused = each().any(|(hit, fit)| hit.refuses && *fit == Fit::Full);
        let spent = each().all(|(hit, fit)| match fit {
            Fit::Fits => true,
            Fit::Full => !hit.refuses,
            Fit::Open => false,
        });
        if !refused && !spent {
            return None;
        }
        let outcomes = hits.iter().zip(&fits).map(|(hit, fit)| {
            let entry = self.entries[index(hit.hash)].as_mut()?;
            let taken = if !refused && *fit == Fit::Fits { hit.terms.cost } else { 0 };
            // It fits, so there are as many.
            entry.tokens = entry.tokens.saturating_sub(taken);
            Some(entry.outcome(hit, *fit, taken, now))
        });
        let outcomes = outcomes.collect();
        if spent && !refused {
            hits.iter().for_each(|hit| self.refill(hit, now));
        }
        outcomes
    }

    fn decide_one(&mut self, hit: &Hit, now: Instant) -> Option<Outcome> {
        let entry = self.entries[index(hit.hash)].as_mut().filter(|entry| entry.hash == hit.hash)?;
        let fit = entry.fit(hit, now)?;
        let taken = match fit {
            Fit::Fits => hit.terms.cost,
            Fit::Full => 0,
            Fit::Open => return None,
        };
        // It fits, so there are as many.
        entry.tokens = entry.tokens.saturating_sub(taken);
        let outcome = entry.outcome(hit, fit, taken, now);
        if fit == Fit::Fits || !hit.refuses {
            self.refill(hit, now);
        }
        Some(outcome)
    }

    /// Queues another lease when a quarter of the last one is spent, so that requests rarely wait for it.
    fn refill(&mut self, hit: &Hit, now: Instant) {
        let deadline = self.deadline;
        let Some(entry) = self.entries[index(hit.hash)].as_mut() else { return };
        let size = lease_size(hit, entry.used);
        let is_queued = self.refills.iter().any(|refill| refill.hit.hash == hit.hash);
        let is_refilling = is_queued || entry.refill_until.is_some_and(|until| now < until);
        if size > hit.terms.cost && entry.tokens < size - size / 4 && !is_refilling {
            let Some((key, _)) = entry.lease.as_deref() else { return };
            self.refills.push(KeyedHit { hit: *hit, key: key.clone(), tokens: size, is_refill: true });
            entry.refill_until = Some(now + deadline);
        }
    }

    /// The leases to take now.
    pub(crate) fn take_refills(&mut self) -> Vec<KeyedHit> {
        std::mem::take(&mut self.refills)
    }

    /// How many tokens a request takes under a rule with a lease: its cost, or a lease.
    pub(crate) fn choose_tokens(&mut self, hit: &Hit, now: Instant) -> u64 {
        let (cost, hash) = (hit.terms.cost, hit.hash);
        let entry = self.entry(hash).filter(|entry| now < entry.ends);
        let size = lease_size(hit, entry.map_or(0, |entry| entry.used));
        let is_refilling = self.entry(hash).is_some_and(|entry| entry.refill_until.is_some_and(|until| now < until));
        let has_tokens = entry.is_some_and(|entry| entry.tokens >= cost && now < entry.until);
        if size <= cost || is_refilling || has_tokens {
            return cost;
        }
        if self.entry(hash).is_none() {
            // A counter that is hit once in a while needs no lease, and must not displace one that has tokens. So the first
            // request in a while only leaves an entry without tokens.
            let other = self.entries[index(hash)].as_ref();
            if other.is_none_or(|other| other.tokens == 0 || now >= other.until) {
                let trace = self.take_entry(hash, hit.terms, now);
                self.entries[index(hash)] = Some(trace);
            }
            return cost;
        }
        let mut entry = self.take_entry(hash, hit.terms, now);
        // The rest of the last lease is no longer valid. It is refunded before the next one is taken.
        self.refunds.extend(entry.refund(now));
        entry.refill_until = Some(now + self.deadline);
        self.entries[index(hash)] = Some(entry);
        size
    }

    /// Stores what Redis has said of a hit: tokens to spend, or, of a refused request, how full its counter is.
    pub(crate) fn learn(&mut self, keyed: &KeyedHit, observation: Observation) {
        let hit = &keyed.hit;
        let Observation { used, outcome, ends } = observation;
        let (counted, took_lease) = (outcome.taken > 0, keyed.tokens > hit.terms.cost);
        let now = Instant::now();
        let limit = u64::from(hit.terms.limit.limit);
        let taken = if counted { keyed.tokens.min(limit.saturating_sub(used)) } else { 0 };
        let used = used.saturating_add(taken);
        let mut entry = self.take_entry(hit.hash, hit.terms, now);
        if entry.window_end != outcome.window_end || now >= entry.until {
            // The tokens of a window that is over cannot be spent.
            self.refunds.extend(entry.refund(now));
            entry.used = 0;
        }
        entry.terms = hit.terms;
        entry.window_end = outcome.window_end;
        entry.used = used;
        entry.reset = outcome.reset;
        entry.is_blocked = outcome.is_blocked;
        entry.ends = ends;
        let until = ends.min(now + VALID);
        // Older tokens do not become valid for longer.
        entry.until = if entry.tokens > 0 { entry.until.min(until) } else { until };
        if took_lease {
            entry.tokens += if keyed.is_refill { taken } else { taken.saturating_sub(outcome.taken) };
            entry.lease.get_or_insert_with(|| Box::new((keyed.key.clone(), hit.terms)));
            entry.refill_until = None;
            self.sweep.get_or_insert(now + VALID);
        }
        self.entries[index(hit.hash)] = Some(entry);
    }

    /// Makes the entry of a counter invalid, after a refund or a reset. The tokens of a counter that was reset are lost.
    pub(crate) fn forget(&mut self, hash: u64, is_reset: bool) {
        if let Some(entry) = self.entries[index(hash)].as_mut().filter(|entry| entry.hash == hash) {
            entry.until = Instant::now();
            entry.tokens = if is_reset { 0 } else { entry.tokens };
        }
    }

    /// Tokens to refund: those of entries that were replaced, and, once a second, those that nobody has spent.
    pub(crate) fn take_refunds(&mut self, now: Instant) -> Vec<Refund> {
        if self.sweep.is_some_and(|sweep| now >= sweep) {
            let unspent = |entry: &mut CachedCounter| if now >= entry.until { entry.refund(now) } else { None };
            self.refunds.extend(self.entries.iter_mut().flatten().filter_map(unspent));
            let any = self.entries.iter().flatten().any(|entry| entry.tokens > 0);
            self.sweep = any.then_some(now + VALID);
        }
        std::mem::take(&mut self.refunds)
    }

    fn entry(&self, hash: u64) -> Option<&CachedCounter> {
        self.entries[index(hash)].as_ref().filter(|entry| entry.hash == hash)
    }

    /// Takes the entry of `hash` out of the table. If another counter has its index, that one is refunded.
    fn take_entry(&mut self, hash: u64, terms: Terms, now: Instant) -> CachedCounter {
        let mut entry = self.entries[index(hash)].take();
        if let Some(other) = entry.as_mut().filter(|entry| entry.hash != hash) {
            self.refunds.extend(other.refund(now));
        }
        entry.filter(|entry| entry.hash == hash).unwrap_or_else(|| CachedCounter::new(hash, terms, now))
    }
}

/// The size of the next lease of a counter that has so much used.
fn lease_size(hit: &Hit, used: u64) -> u64 {
    (u64::from(hit.terms.limit.limit).saturating_sub(used) / SHARES_OF_REST).min(hit.lease.into())
}

fn index(hash: u64) -> usize {
    hash as usize % ENTRIES
}
