//! A model that decides one request after the other, in whole numbers.

use std::cell::RefCell;
use std::collections::HashMap;

use super::steps::{Algorithm, DURATIONS, LONGEST, NANOS, PER, Rule, SECOND, block_key, key, length, part};

pub(crate) struct Model<'a> {
    pub(crate) redis: &'a RefCell<redis::Connection>,
    /// Microseconds since the epoch.
    pub(crate) now: u64,
    pub(crate) counts: HashMap<String, u64>,
    /// The buckets of a counter, the latest first.
    pub(crate) buckets: HashMap<String, Vec<Bucket>>,
    /// When a block ends, in seconds since the epoch, and how many there were, by its key.
    pub(crate) blocks: HashMap<String, (u64, usize)>,
}

/// The most buckets of a counter of GCRA.
pub(crate) const BUCKETS: usize = 4;

/// The bucket of a rule of GCRA.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// The nanoseconds of a token, and the capacity.
    pub(crate) rate: (u64, u64),
    /// The time at which all tokens are back, in nanoseconds since the epoch.
    pub(crate) arrival: u128,
    /// Whether it had too few tokens since it was full last.
    pub(crate) is_overdrawn: bool,
}

impl Bucket {
    pub(crate) fn full(&self) -> u128 {
        u128::from(self.rate.0) * u128::from(self.rate.1)
    }

    /// The nanoseconds from `now` until all tokens are back.
    pub(crate) fn ahead(&self, now: u128) -> u128 {
        let ahead = self.arrival.saturating_sub(now);
        if ahead <= 2 * self.full().max(u128::from(PER) * NANOS) { ahead.min(self.full()) } else { 0 }
    }

    pub(crate) fn used(&self, now: u128) -> u64 {
        self.ahead(now).div_ceil(self.rate.0.into()) as u64
    }
}

impl Model<'_> {
    pub(crate) fn end(&self, algorithm: Algorithm) -> Option<u64> {
        length(algorithm).map(|per| (self.now / SECOND / per + 1) * per)
    }

    /// The script counts no further than to 2 to the power of 32.
    pub(crate) fn count(&self, key: &str) -> u64 {
        self.counts.get(key).copied().unwrap_or(0).min(1 << 32)
    }

    /// The tokens used, and the numbers in the script's reply.
    pub(crate) fn look(&self, rule: &Rule, client: u8) -> (u64, Vec<i64>) {
        let end = self.end(rule.algorithm);
        let here = part(rule.algorithm, client, end);
        match (rule.algorithm, end) {
            (Algorithm::Fixed { .. }, _) => (self.count(&here), vec![self.count(&here) as i64]),
            (Algorithm::Sliding { per }, Some(end)) => {
                let (used, before) = (self.count(&here), self.count(&part(rule.algorithm, client, Some(end - per))));
                let left = end * SECOND - self.now;
                (used + (before * left).div_ceil(per * SECOND), vec![used as i64, before as i64])
            }
            (Algorithm::Gcra { emission }, _) | (Algorithm::Sliding { per: emission }, None) => {
                let bucket = self.bucket(rule, emission, &here);
                let arrival = match self.buckets.get(&here).map(Vec::as_slice) {
                    None | Some([]) => 0,
                    // The stored value, even if it is in the past.
                    Some([only]) if only.rate == bucket.rate => only.arrival,
                    Some(_) if bucket.ahead(self.nanos()) == 0 => 0,
                    Some(_) => self.nanos() + bucket.ahead(self.nanos()),
                };
                (bucket.used(self.nanos()), vec![(arrival / NANOS) as i64, (arrival % NANOS) as i64])
            }
        }
    }

    pub(crate) fn nanos(&self) -> u128 {
        u128::from(self.now) * 1000
    }

    /// The bucket of a rule. A new one starts from the most that was taken from another.
    pub(crate) fn bucket(&self, rule: &Rule, emission: u64, key: &str) -> Bucket {
        let rate = (emission, rule.capacity);
        let buckets = self.buckets.get(key).map_or(&[][..], Vec::as_slice);
        if let Some(own) = buckets.iter().find(|bucket| bucket.rate == rate) {
            return own.clone();
        }
        let used = buckets.iter().map(|bucket| bucket.used(self.nanos())).max().unwrap_or(0);
        let arrival = self.nanos() + u128::from(used.min(rule.capacity)) * u128::from(emission);
        Bucket { rate, arrival, is_overdrawn: used > rule.capacity }
    }

    pub(crate) fn take(&mut self, rule: &Rule, client: u8, tokens: u64) {
        let key = part(rule.algorithm, client, self.end(rule.algorithm));
        match rule.algorithm {
            Algorithm::Gcra { emission } => {
                let (own, now) = (self.bucket(rule, emission, &key), self.nanos());
                let buckets = self.buckets.entry(key).or_default();
                buckets.retain(|bucket| bucket.rate != own.rate);
                buckets.insert(0, own);
                buckets.truncate(BUCKETS);
                for bucket in buckets {
                    let ahead = bucket.ahead(now) + u128::from(tokens) * u128::from(bucket.rate.0);
                    bucket.is_overdrawn &= bucket.ahead(now) > 0;
                    bucket.is_overdrawn |= ahead > bucket.full();
                    bucket.arrival = now + ahead.min(bucket.full());
                }
            }
            _ => *self.counts.entry(key).or_default() += tokens,
        }
    }

    /// Takes tokens whether or not they fit, in the window with this end, and returns how many.
    pub(crate) fn overdraw(
        &mut self,
        algorithm: Algorithm,
        capacity: u64,
        tokens: u64,
        client: u8,
        end: Option<u64>,
    ) -> u64 {
        let part_of = |end| part(algorithm, client, end);
        match (algorithm, end) {
            (Algorithm::Fixed { .. }, Some(end)) if self.now / SECOND >= end => 0,
            (Algorithm::Gcra { emission }, _) => {
                let rule = Rule { algorithm, capacity, cost: 0, refuses: true, drift: 0, blocks: false };
                let (own, now) = (self.bucket(&rule, emission, &part_of(None)), self.nanos());
                let ahead = own.ahead(now);
                self.take(&rule, client, tokens);
                if let Some(bucket) = self.buckets.get_mut(&part_of(None)).and_then(|buckets| buckets.first_mut()) {
                    // What it lacked is known, so it is not overdrawn by that.
                    bucket.is_overdrawn = own.is_overdrawn && ahead > 0;
                }
                tokens.min(((own.full() - ahead) / u128::from(emission)) as u64)
            }
            (_, end) => {
                if let (Algorithm::Sliding { per }, Some(end)) = (algorithm, end)
                    && self.count(&part_of(Some(end))) == 0
                {
                    self.counts.remove(&part_of(Some(end - 2 * per)));
                }
                *self.counts.entry(part_of(end)).or_default() += tokens;
                tokens
            }
        }
    }

    /// Decides one request, and counts it if no rule refuses it.
    pub(crate) fn ask(&mut self, rules: &[Rule], client: u8) {
        let has_room = |rule: &Rule| rule.cost == 0 || self.look(rule, client).0 + rule.cost <= rule.capacity;
        let is_blocked = |rule: &Rule| rule.blocks && self.blocked_until(rule.algorithm, client).is_some();
        let with_room: Vec<bool> = rules.iter().map(has_room).collect();
        let blocked: Vec<bool> = rules.iter().map(is_blocked).collect();
        let fitting: Vec<bool> = with_room.iter().zip(&blocked).map(|(room, blocked)| *room && !blocked).collect();
        if rules.iter().zip(&fitting).all(|(rule, fits)| *fits || !rule.refuses) {
            for (rule, _) in rules.iter().zip(&fitting).filter(|(rule, fits)| **fits && rule.cost > 0) {
                self.take(rule, client, rule.cost);
            }
        }
        for ((rule, has_room), is_blocked) in rules.iter().zip(with_room).zip(blocked) {
            if rule.blocks && !has_room && !is_blocked {
                let level = self.block(rule.algorithm, client).map_or(0, |(_, level)| level);
                let level = (level + 1).min(DURATIONS.len());
                self.start_block(rule.algorithm, client, DURATIONS[level - 1], level);
            }
        }
    }

    /// The block of a client, which may have ended, if it still counts for the next one.
    pub(crate) fn block(&self, algorithm: Algorithm, client: u8) -> Option<(u64, usize)> {
        let (ends, level) = *self.blocks.get(&block_key(algorithm, client))?;
        let seconds = self.now / SECOND;
        (ends + LONGEST > seconds && ends <= seconds + 2 * 90 * 86_400).then_some((ends, level))
    }

    /// When the block of a client ends, if there is one now.
    pub(crate) fn blocked_until(&self, algorithm: Algorithm, client: u8) -> Option<u64> {
        self.block(algorithm, client).map(|(ends, _)| ends).filter(|ends| ends * SECOND > self.now)
    }

    /// Blocks a client, and returns when the block ends.
    pub(crate) fn start_block(&mut self, algorithm: Algorithm, client: u8, seconds: u64, level: usize) -> u64 {
        let ends = self.now.div_ceil(SECOND) + seconds;
        self.blocks.insert(block_key(algorithm, client), (ends, level));
        ends
    }

    /// Forgets a counter, with all windows of a sliding one. Returns whether there was one.
    pub(crate) fn forget(&mut self, algorithm: Algorithm, client: u8) -> bool {
        let key = key(algorithm, client, self.end(algorithm));
        let windows = key.strip_suffix('0').filter(|_| matches!(algorithm, Algorithm::Sliding { .. }));
        let is_its = |part: &str| part == key || windows.is_some_and(|windows| part.starts_with(windows));
        let before = self.counts.len() + self.buckets.len();
        self.counts.retain(|part, _| !is_its(part));
        self.buckets.retain(|part, _| !is_its(part));
        self.counts.len() + self.buckets.len() < before
    }

    /// Removes the window before the last, as the first count in a sliding window does.
    pub(crate) fn fade(&mut self, rule: &Rule, client: u8) {
        if let (Algorithm::Sliding { per }, Some(end)) = (rule.algorithm, self.end(rule.algorithm))
            && rule.cost > 0
            && self.count(&part(rule.algorithm, client, Some(end))) == 0
        {
            self.counts.remove(&part(rule.algorithm, client, Some(end - 2 * per)));
        }
    }

    /// The end of the window that the client takes for the current one.
    pub(crate) fn told_end(&self, rule: &Rule) -> u64 {
        let (end, per) = (self.end(rule.algorithm).unwrap_or(0), length(rule.algorithm).unwrap_or(0));
        end.saturating_add_signed(rule.drift * per as i64)
    }
}
