//! Counters that this worker knows to be full.
//!
//! Within a window a counter only grows, so what it has refused once it refuses until the window ends, and Redis
//! need not be asked again. An entry is believed for a second at the most: a counter that was deleted is seen as
//! soon as that. The table has a fixed size, and an entry gives way to the next that falls on its place, so no
//! number of keys makes it grow.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use crate::store::{Hit, Outcome};

const ENTRIES: usize = 1024;
const BELIEVED: Duration = Duration::from_secs(1);

pub(super) struct Denied {
    hasher: RandomState,
    entries: Box<[Option<Entry>]>,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    /// The least that the counter holds.
    used: u32,
    window_end: u64,
    /// When the window ends, at the earliest, by this machine's monotonic clock.
    ends: Instant,
    until: Instant,
}

impl Denied {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), entries: vec![None; ENTRIES].into_boxed_slice() }
    }

    /// The refusal of `hit`, if its counter is known to be full.
    pub(super) fn refuse(&self, hit: &Hit) -> Option<Outcome> {
        let hash = self.hasher.hash_one(&hit.counter);
        let entry = self.entries[place(hash)].filter(|entry| entry.hash == hash && entry.used >= hit.limit.limit)?;
        let now = Instant::now();
        if now >= entry.until {
            return None;
        }
        let left = entry.ends.saturating_duration_since(now);
        let retry_after = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let retry_after = u32::try_from(retry_after).unwrap_or(u32::MAX).max(1);
        Some(Outcome { remaining: 0, reset: entry.window_end, retry_after, over: true })
    }

    /// Keeps what Redis has said of `hit`, whose window ends at `ends`, if it was a refusal.
    pub(super) fn remember(&mut self, hit: &Hit, outcome: &Outcome, ends: Instant) {
        if outcome.over {
            let hash = self.hasher.hash_one(&hit.counter);
            let until = ends.min(Instant::now() + BELIEVED);
            let entry = Entry { hash, used: hit.limit.limit, window_end: outcome.reset, ends, until };
            self.entries[place(hash)] = Some(entry);
        }
    }
}

fn place(hash: u64) -> usize {
    hash as usize % ENTRIES
}
