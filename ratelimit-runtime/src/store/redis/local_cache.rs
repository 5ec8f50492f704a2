//! What this worker knows of counters without asking: which are full, and of which it has tokens to spend.
//!
//! Within a window a counter only grows, unless something is refunded, so what it has refused once it refuses until the
//! window ends; what is no fixed window refuses until the time that it has said. Tokens that
//! were taken from it in a lease are the worker's own, to be spent within that window. Both are believed for a second at
//! the most; then Redis is asked, or, of rules of which the process [keeps](super::deny_cache) more, that. The table has a fixed size, and an entry gives way
//! to the next that falls on its place, so no number of keys makes it grow.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::{
    decision::outcome::{Outcome, Outcomes},
    rule::{algorithm::Algorithm, terms::Terms},
    store::{
        CounterKey, Hit,
        redis::{
            deny_cache::View,
            work::{KeyedHit, Refund},
        },
    },
};

const ENTRIES: usize = 1024;
const BELIEVED: Duration = Duration::from_secs(1);

/// A lease is at most a tenth of what is left of the limit, so that the last tokens do not lie with workers that nobody
/// asks.
const SHARES_OF_REST: u64 = 10;

pub(crate) struct LocalCache {
    /// What all workers of the process know; of a cluster, nothing.
    pub(crate) deny_cache: Option<View>,
    /// How long a lease may be under way.
    deadline: Duration,
    entries: Box<[Option<Entry>]>,
    /// When to look for tokens that nobody has spent, if there may be some.
    sweep: Option<Instant>,
    refunds: Vec<Refund>,
    /// Leases to ask for before the last one is spent.
    refills: Vec<KeyedHit>,
}

struct Entry {
    hash: u64,
    /// On what terms the request was that Redis was asked for.
    terms: Terms,
    /// The least that the counter holds, the tokens of this worker included.
    used: u64,
    window_end: u64,
    /// When more fits, in seconds since the epoch by the server's clock.
    reset: u64,
    /// When that is, to the moment, at the earliest, by this machine's monotonic clock.
    ends: Instant,
    /// Until when this is believed.
    until: Instant,
    /// Taken from the counter, and not yet spent.
    tokens: u64,
    /// What the tokens were taken from.
    lease: Option<Box<(CounterKey, Terms)>>,
    /// A lease is under way, and until then no other is asked for.
    asked_until: Option<Instant>,
}

/// What Redis said of a hit.
pub(crate) struct Learned {
    /// How much was used before.
    pub(crate) used: u64,
    pub(crate) outcome: Outcome,
    /// When the request would fit, or the window ends, at the earliest.
    pub(crate) ends: Instant,
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

impl LocalCache {
    pub(crate) fn new(deadline: Duration, deny_cache: Option<View>) -> Self {
        let entries = std::iter::repeat_with(|| None).take(ENTRIES).collect();
        Self { deny_cache, deadline, entries, sweep: None, refunds: Vec::new(), refills: Vec::new() }
    }

    /// Decides a request, if what is known is enough for that.
    pub(crate) fn decide(&mut self, hits: &[Hit], now: Instant) -> Option<Outcomes> {
        if let [hit] = hits {
            // As most handlers have it, and cheaper than to gather.
            return self.decide_one(hit, now).map(|outcome| Outcomes::from_buf([outcome]));
        }
        if hits.iter().any(|hit| self.entry(hit.hash).is_none()) {
            return None;
        }
        let standings = hits.iter().map(|hit| self.entry(hit.hash)?.standing(hit, now));
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
        let outcomes = hits.iter().zip(&standings).map(|(hit, standing)| {
            let entry = self.entries[index(hit.hash)].as_mut()?;
            let taken = if !refused && *standing == Standing::Fits { hit.terms.cost } else { 0 };
            // It fits, so there are as many.
            entry.tokens = entry.tokens.saturating_sub(taken);
            Some(entry.outcome(hit, *standing, taken, now))
        });
        let outcomes = outcomes.collect();
        if spent && !refused {
            hits.iter().for_each(|hit| self.refill(hit, now));
        }
        outcomes
    }

    fn decide_one(&mut self, hit: &Hit, now: Instant) -> Option<Outcome> {
        let entry = self.entries[index(hit.hash)].as_mut().filter(|entry| entry.hash == hit.hash)?;
        let standing = entry.standing(hit, now)?;
        let taken = match standing {
            Standing::Fits => hit.terms.cost,
            Standing::Full => 0,
            Standing::Open => return None,
        };
        // It fits, so there are as many.
        entry.tokens = entry.tokens.saturating_sub(taken);
        let outcome = entry.outcome(hit, standing, taken, now);
        if standing == Standing::Fits || !hit.refuses {
            self.refill(hit, now);
        }
        Some(outcome)
    }

    /// Refuses a request by what all workers know.
    pub(crate) fn refuse(&mut self, hits: &[Hit], now: Instant) -> Option<Outcomes> {
        let ([hit], Some(deny_cache)) = (hits, &mut self.deny_cache) else { return None };
        deny_cache.refuse(hit, now).map(|outcome| Outcomes::from_buf([outcome]))
    }

    /// Asks for another lease when a quarter of the last one is spent, so that hardly a request has to wait for it.
    fn refill(&mut self, hit: &Hit, now: Instant) {
        let deadline = self.deadline;
        let Some(entry) = self.entries[index(hit.hash)].as_mut() else { return };
        let take = lease_size(hit, entry.used);
        let is_asked_for = self.refills.iter().any(|ask| ask.hit.hash == hit.hash);
        let is_under_way = is_asked_for || entry.asked_until.is_some_and(|until| now < until);
        if take > hit.terms.cost && entry.tokens < take - take / 4 && !is_under_way {
            let Some((key, _)) = entry.lease.as_deref() else { return };
            self.refills.push(KeyedHit { hit: *hit, key: key.clone(), take, is_refill: true });
            entry.asked_until = Some(now + deadline);
        }
    }

    /// What to ask for besides.
    pub(crate) fn refills(&mut self) -> Vec<KeyedHit> {
        std::mem::take(&mut self.refills)
    }

    /// Chooses how many tokens to ask for under a rule with a lease.
    pub(crate) fn choose_take(&mut self, hit: &Hit, now: Instant) -> u64 {
        let (cost, hash) = (hit.terms.cost, hit.hash);
        let entry = self.entry(hash).filter(|entry| now < entry.ends);
        let take = lease_size(hit, entry.map_or(0, |entry| entry.used));
        let is_under_way = self.entry(hash).is_some_and(|entry| entry.asked_until.is_some_and(|until| now < until));
        let has_tokens = entry.is_some_and(|entry| entry.tokens >= cost && now < entry.until);
        if take <= cost || is_under_way || has_tokens {
            return cost;
        }
        if self.entry(hash).is_none() {
            // A counter that is asked for once in a while needs no tokens, and does not take the place of one that has
            // some: the first request within a while only leaves a trace.
            let other = self.entries[index(hash)].as_ref();
            if other.is_none_or(|other| other.tokens == 0 || now >= other.until) {
                let trace = self.take_place(hash, hit.terms, now);
                self.entries[index(hash)] = Some(trace);
            }
            return cost;
        }
        let mut entry = self.take_place(hash, hit.terms, now);
        // What is left of the last lease is no longer believed in, and goes back before the next one is taken.
        self.refunds.extend(entry.refund(now));
        entry.asked_until = Some(now + self.deadline);
        self.entries[index(hash)] = Some(entry);
        take
    }

    /// Keeps what Redis has said of a hit: that there are tokens to spend, or, of a request that was refused, how full
    /// its counter is.
    pub(crate) fn learn(&mut self, ask: &KeyedHit, learned: Learned) {
        let hit = &ask.hit;
        let Learned { used, outcome, ends } = learned;
        let (counted, took_lease) = (outcome.taken > 0, ask.take > hit.terms.cost);
        let now = Instant::now();
        let limit = u64::from(hit.terms.limit.limit);
        let taken = if counted { ask.take.min(limit.saturating_sub(used)) } else { 0 };
        let used = used.saturating_add(taken);
        let mut entry = self.take_place(hit.hash, hit.terms, now);
        if entry.window_end != outcome.window_end || now >= entry.until {
            // The tokens of a window that is over are nobody's.
            self.refunds.extend(entry.refund(now));
            entry.used = 0;
        }
        entry.terms = hit.terms;
        entry.window_end = outcome.window_end;
        entry.used = used;
        entry.reset = outcome.reset;
        entry.ends = ends;
        let until = ends.min(now + BELIEVED);
        // Tokens that were there before are not believed in for any longer.
        entry.until = if entry.tokens > 0 { entry.until.min(until) } else { until };
        if took_lease {
            entry.tokens += if ask.is_refill { taken } else { taken.saturating_sub(outcome.taken) };
            entry.lease.get_or_insert_with(|| Box::new((ask.key.clone(), hit.terms)));
            entry.asked_until = None;
            self.sweep.get_or_insert(now + BELIEVED);
        }
        self.entries[index(hit.hash)] = Some(entry);
    }

    /// Believes no longer what it knows of a counter, of which something is refunded. Of one that is reset the tokens are
    /// nobody's.
    pub(crate) fn forget(&mut self, hash: u64, is_reset: bool) {
        if let Some(entry) = self.entries[index(hash)].as_mut().filter(|entry| entry.hash == hash) {
            entry.until = Instant::now();
            entry.tokens = if is_reset { 0 } else { entry.tokens };
        }
    }

    /// Tokens that are to be refunded: those that gave way to others, and, looked for once a second, those that
    /// nobody has spent.
    pub(crate) fn refunds(&mut self, now: Instant) -> Vec<Refund> {
        if self.sweep.is_some_and(|sweep| now >= sweep) {
            let unspent = |entry: &mut Entry| if now >= entry.until { entry.refund(now) } else { None };
            self.refunds.extend(self.entries.iter_mut().flatten().filter_map(unspent));
            let any = self.entries.iter().flatten().any(|entry| entry.tokens > 0);
            self.sweep = any.then_some(now + BELIEVED);
        }
        std::mem::take(&mut self.refunds)
    }

    fn entry(&self, hash: u64) -> Option<&Entry> {
        self.entries[index(hash)].as_ref().filter(|entry| entry.hash == hash)
    }

    /// The entry of `hash`, out of its place, or an empty one in place of another.
    fn take_place(&mut self, hash: u64, terms: Terms, now: Instant) -> Entry {
        let mut entry = self.entries[index(hash)].take();
        if let Some(other) = entry.as_mut().filter(|entry| entry.hash != hash) {
            self.refunds.extend(other.refund(now));
        }
        entry.filter(|entry| entry.hash == hash).unwrap_or_else(|| Entry::new(hash, terms, now))
    }
}

impl Entry {
    fn new(hash: u64, terms: Terms, now: Instant) -> Self {
        let (tokens, lease, asked_until) = (0, None, None);
        let (used, window_end, reset) = (0, 0, 0);
        Self { hash, terms, used, window_end, reset, ends: now, until: now, tokens, lease, asked_until }
    }

    /// How `hit` stands; `None` where this is not to be believed any more.
    fn standing(&self, hit: &Hit, now: Instant) -> Option<Standing> {
        if now >= self.until {
            return None;
        }
        // In a fixed window, handlers that share a counter may have different limits, and requests different costs.
        // Elsewhere what is used becomes less, and only a request like that one cannot do with less before its time.
        if hit.terms.algorithm != Algorithm::FixedWindow && hit.terms != self.terms {
            return Some(Standing::Open);
        }
        let cost = hit.terms.cost;
        if cost == 0 {
            // It always fits, but what is left may be more or less by now.
            return Some(Standing::Open);
        }
        let used_by_others = self.used.saturating_sub(self.tokens);
        Some(match used_by_others.saturating_add(cost) <= hit.terms.capacity().into() {
            true if self.tokens >= cost => Standing::Fits,
            true => Standing::Open,
            false => Standing::Full,
        })
    }

    fn outcome(&self, hit: &Hit, standing: Standing, taken: u64, now: Instant) -> Outcome {
        let left = self.ends.saturating_duration_since(now);
        let retry_after = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let used = self.used.saturating_sub(self.tokens);
        Outcome {
            remaining: u32::try_from(u64::from(hit.terms.capacity()).saturating_sub(used)).unwrap_or(u32::MAX),
            reset: self.reset,
            retry_after: u32::try_from(retry_after).unwrap_or(u32::MAX).max(1),
            over: standing == Standing::Full,
            taken,
            window_end: self.window_end,
            is_degraded: false,
        }
    }

    /// Gives up the tokens; they go back, if their window is not over.
    fn refund(&mut self, now: Instant) -> Option<Refund> {
        let tokens = std::mem::take(&mut self.tokens);
        self.used = self.used.saturating_sub(tokens);
        let (key, terms) = *self.lease.take()?;
        (tokens > 0 && now < self.ends).then_some(Refund { key, terms, window_end: self.window_end, tokens })
    }
}

/// How many tokens to ask for, where so many are used.
fn lease_size(hit: &Hit, used: u64) -> u64 {
    (u64::from(hit.terms.limit.limit).saturating_sub(used) / SHARES_OF_REST).min(hit.lease.into())
}

fn index(hash: u64) -> usize {
    hash as usize % ENTRIES
}
