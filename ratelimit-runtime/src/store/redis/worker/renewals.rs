//! The places that requests of one worker hold in Redis, and when to renew them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::{CounterKey, Hit, redis::work::KeyedHit};

/// A place is renewed once in a sixth of its `hold`, or in a third at the latest.
const ROUNDS: u32 = 6;

/// The places of a worker.
#[derive(Default)]
pub(crate) struct Renewals {
    state: Mutex<State>,
    /// Wakes the task if a place needs shorter rounds.
    pub(crate) shorter: Notify,
}

#[derive(Default)]
struct State {
    places: HashMap<u64, Entry>,
    /// The time between two rounds; `None` while no task runs.
    pause: Option<Duration>,
}

struct Entry {
    key: CounterKey,
    hit: Hit,
    /// When the place was taken or renewed, at the latest.
    since: Instant,
}

/// A place that is renewed until this is dropped.
pub(crate) struct RenewedPlace {
    renewals: Arc<Renewals>,
    place: u64,
}

impl Drop for RenewedPlace {
    fn drop(&mut self) {
        self.renewals.state.lock().places.remove(&self.place);
    }
}

impl Renewals {
    /// Renews the place of `hit` from now on, and says whether a task must be started for that.
    pub(crate) fn add(self: &Arc<Self>, key: CounterKey, hit: Hit) -> (RenewedPlace, bool) {
        let wanted = pause(&hit);
        let mut state = self.state.lock();
        state.places.insert(hit.place, Entry { key, hit, since: Instant::now() });
        let is_first = state.pause.is_none();
        if state.pause.is_none_or(|pause| wanted < pause) {
            state.pause = Some(wanted);
            self.shorter.notify_one();
        }
        (RenewedPlace { renewals: Arc::clone(self), place: hit.place }, is_first)
    }

    /// The time until the next round. Without places the task ends.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.places.is_empty() {
            state.pause = None;
        }
        state.pause
    }

    /// The places to renew in this round.
    pub(crate) fn due(&self) -> Vec<KeyedHit> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let due = state.places.values_mut().filter(|entry| now.duration_since(entry.since) >= pause(&entry.hit));
        due.map(|entry| {
            entry.since = now;
            KeyedHit { hit: entry.hit, key: entry.key.clone(), tokens: 1, is_refill: false }
        })
        .collect()
    }

    /// Whether a place is still held.
    pub(crate) fn holds(&self, place: u64) -> bool {
        self.state.lock().places.contains_key(&place)
    }
}

fn pause(hit: &Hit) -> Duration {
    Duration::from_secs(hit.terms.limit.per.into()) / ROUNDS
}
