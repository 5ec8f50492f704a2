//! The contents of a counter that a store keeps in one value, and the contents that follow, for every algorithm. Pure arithmetic: times are
//! passed in.
//!
//! The in-memory store and the script in Redis have forms of their own for the same numbers.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::rule::{
    algorithm::{Algorithm, gcra::NANOS},
    limit::Limit,
    terms::{CounterState, Terms},
};

/// The most buckets of a counter.
const MOST_BUCKETS: usize = 4;

/// The contents of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The count of the window that ends at `end`, in seconds since the epoch.
    Window { used: u32, end: u64 },
    /// The counts of the window that ends at `end`, and of the one before.
    Windows { used: u32, before: u32, end: u64 },
    /// A bucket of GCRA for each rate under which the counter is used, the latest first.
    Buckets(SmallVec<[HeldBucket; 1]>),
    /// The places that requests hold, the latest last.
    Places(Vec<HeldPlace>),
}

/// A bucket of GCRA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBucket {
    pub(crate) limit: Limit,
    pub(crate) burst: u32,
    /// The time at which all tokens are back, in nanoseconds since the epoch.
    pub(crate) arrival: u64,
    /// Whether the bucket had too few tokens for another rule since it was last full. Until it is full again, only its own rule's tokens are
    /// refunded to it.
    pub(crate) is_overdrawn: bool,
}

/// A place of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldPlace {
    pub(crate) name: u64,
    /// When it ends unless it is renewed, in seconds since the epoch.
    pub(crate) ends: u64,
}

/// The contents belong to another algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherAlgorithm;

/// A change of a counter without a decision. `window_end` is the end of the window in which the tokens were counted, or the name of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// Refunds tokens, if their window still counts.
    Refund { window_end: u64, tokens: u64 },
    /// Takes tokens, whether or not they fit, if their window still counts.
    Overdraw { window_end: u64, tokens: u64 },
}

impl Held {
    /// The time from which the contents mean nothing, in seconds since the epoch.
    pub(crate) fn expires(&self, terms: &Terms) -> u64 {
        match self {
            Self::Window { end, .. } => *end,
            Self::Windows { end, .. } => end.saturating_add(terms.limit.per.into()),
            Self::Buckets(buckets) => buckets.iter().map(|bucket| bucket.arrival / NANOS + 1).max().unwrap_or(0),
            Self::Places(places) => places.iter().map(|place| place.ends).max().unwrap_or(0),
        }
    }
}

impl Terms {
    /// The state that a request finds in a counter with these contents. `place` is the request's own.
    pub(crate) fn look(&self, held: Option<&Held>, place: u64, now: Duration) -> Result<CounterState, OtherAlgorithm> {
        let end = self.window_end(now.as_secs());
        let length = u64::from(self.limit.per);
        // A clock that is set back a little stays in the window that it had reached.
        let is_live = |held: u64| held >= end && held <= now.as_secs() + 2 * length;
        Ok(match (self.algorithm, held) {
            (Algorithm::FixedWindow, Some(Held::Window { used, end })) if is_live(*end) => {
                CounterState::Window { used: *used, end: *end }
            }
            (Algorithm::FixedWindow, None | Some(Held::Window { .. })) => CounterState::Window { used: 0, end },
            (Algorithm::SlidingWindow, Some(&Held::Windows { used, before, end })) if is_live(end) => {
                CounterState::Windows { used, before, end }
            }
            (Algorithm::SlidingWindow, Some(&Held::Windows { used, end: last, .. })) if last + length == end => {
                CounterState::Windows { used: 0, before: used, end }
            }
            (Algorithm::SlidingWindow, None | Some(Held::Windows { .. })) => {
                CounterState::Windows { used: 0, before: 0, end }
            }
            (Algorithm::Gcra { .. }, None) => CounterState::Arrival(0),
            (Algorithm::Gcra { .. }, Some(Held::Buckets(buckets))) => {
                CounterState::Arrival(self.own_bucket(buckets, now).arrival)
            }
            (Algorithm::Concurrency, None) => CounterState::Places(0),
            (Algorithm::Concurrency, Some(Held::Places(places))) => {
                let live = || places.iter().filter(|place| self.is_held(place, now));
                let others = u32::try_from(live().filter(|other| other.name != place).count()).unwrap_or(u32::MAX);
                // A place that is there is renewed.
                let is_renewed = live().any(|other| other.name == place);
                CounterState::Places(if is_renewed { others.min(self.capacity().saturating_sub(1)) } else { others })
            }
            _ => return Err(OtherAlgorithm),
        })
    }

    /// The contents after a request took `tokens`, which fit.
    pub(crate) fn count(&self, held: Option<Held>, place: u64, tokens: u64, now: Duration) -> Option<Held> {
        let found = self.look(held.as_ref(), place, now).ok()?;
        self.replace(held, self.take(found, tokens, now), place, Shared::Taken(tokens), now)
    }

    /// The contents after a correction, and how many tokens were taken by it; `None` for contents that stay as they are.
    pub(crate) fn correct(
        &self,
        held: Option<Held>,
        correction: Correction,
        now: Duration,
    ) -> Result<Option<(Option<Held>, u64)>, OtherAlgorithm> {
        let found = self.look(held.as_ref(), 0, now)?;
        let (window_end, is_refund) = match correction {
            Correction::Refund { window_end, .. } => (window_end, true),
            Correction::Overdraw { window_end, .. } => (window_end, false),
        };
        let is_last = |end: u64| window_end.saturating_add(self.limit.per.into()) == end;
        match found {
            CounterState::Window { end, .. } if end != window_end => return Ok(None),
            CounterState::Windows { end, .. } if end != window_end && !is_last(end) => return Ok(None),
            CounterState::Places(_) if !is_refund => return Ok(None),
            _ if held.is_none() && is_refund => return Ok(None),
            _ => {}
        }
        if let (CounterState::Places(_), Some(Held::Places(mut places))) = (found, held.clone()) {
            places.retain(|place| place.name != window_end && self.is_held(place, now));
            return Ok(Some(((!places.is_empty()).then_some(Held::Places(places)), 0)));
        }
        // The last window's count is changed as if it were this one's.
        let swapped = |state| match state {
            CounterState::Windows { used, before, end } if is_last(end) => {
                CounterState::Windows { used: before, before: used, end }
            }
            state => state,
        };
        let (after, taken, shared) = match correction {
            Correction::Refund { tokens, .. } => (self.refund(swapped(found), tokens), 0, Shared::Refunded(tokens)),
            Correction::Overdraw { tokens, .. } => {
                let (after, taken) = self.overdraw(swapped(found), tokens, now);
                (after, taken, Shared::Taken(tokens))
            }
        };
        Ok(Some((self.replace(held, swapped(after), 0, shared, now), taken)))
    }

    /// The contents with another state; `None` if nothing is left to keep.
    fn replace(
        &self,
        held: Option<Held>,
        state: CounterState,
        place: u64,
        shared: Shared,
        now: Duration,
    ) -> Option<Held> {
        match state {
            CounterState::Window { used: 0, .. } | CounterState::Windows { used: 0, before: 0, .. } => None,
            CounterState::Window { used, end } => Some(Held::Window { used, end }),
            CounterState::Windows { used, before, end } => Some(Held::Windows { used, before, end }),
            CounterState::Arrival(arrival) => {
                let buckets = match held {
                    Some(Held::Buckets(buckets)) => buckets,
                    _ => SmallVec::new(),
                };
                self.replace_buckets(&buckets, arrival, shared, now)
            }
            // A block is kept beside the counter, which stays as it is.
            CounterState::Blocked { .. } => held,
            CounterState::Places(_) => {
                let mut places = match held {
                    Some(Held::Places(places)) => places,
                    _ => Vec::new(),
                };
                places.retain(|other| other.name != place && self.is_held(other, now));
                // A second more, since the time is cut to seconds.
                places.push(HeldPlace { name: place, ends: now.as_secs() + u64::from(self.limit.per) + 1 });
                Some(Held::Places(places))
            }
        }
    }

    /// The rule's own bucket. A new one starts with the most that was taken from the others.
    fn own_bucket(&self, buckets: &[HeldBucket], now: Duration) -> HeldBucket {
        if let Some(own) = buckets.iter().find(|bucket| self.owns(bucket)) {
            return HeldBucket { is_overdrawn: own.is_overdrawn && self.used(own.state(), now) > 0, ..*own };
        }
        let used = buckets.iter().map(|other| self.of(other).used(other.state(), now)).max().unwrap_or(0);
        let arrival = match self.with_used(used, now) {
            CounterState::Arrival(arrival) => arrival,
            _ => 0,
        };
        let burst = self.capacity();
        HeldBucket { limit: self.limit, burst, arrival, is_overdrawn: used > burst.into() }
    }

    /// The buckets after the own one has another arrival time. The others take the same tokens, as far as they have some.
    fn replace_buckets(&self, buckets: &[HeldBucket], arrival: u64, shared: Shared, now: Duration) -> Option<Held> {
        let own = HeldBucket { arrival, ..self.own_bucket(buckets, now) };
        let mut next: SmallVec<[HeldBucket; 1]> = smallvec![own];
        for other in buckets.iter().filter(|bucket| !self.owns(bucket)).take(MOST_BUCKETS - 1) {
            let (terms, found) = (self.of(other), other.state());
            let was_overdrawn = other.is_overdrawn && terms.used(found, now) > 0;
            let (state, is_overdrawn) = match shared {
                Shared::Taken(tokens) => {
                    let taken = terms.take_at_most(found, tokens, now);
                    (taken, was_overdrawn || taken != terms.take(found, tokens, now))
                }
                Shared::Refunded(_) if was_overdrawn => (found, true),
                Shared::Refunded(tokens) => (terms.refund(found, tokens), false),
            };
            if let CounterState::Arrival(arrival) = state {
                next.push(HeldBucket { arrival, is_overdrawn, ..*other });
            }
        }
        let is_full = |bucket: &HeldBucket| self.of(bucket).used(bucket.state(), now) == 0;
        (!next.iter().all(is_full)).then_some(Held::Buckets(next))
    }

    /// A place is held until it ends. One that ends far in the future was taken before the clock was set back, and is not held.
    fn is_held(&self, place: &HeldPlace, now: Duration) -> bool {
        let now = now.as_secs();
        place.ends > now && place.ends <= now + 2 * u64::from(self.limit.per) + 1
    }

    fn owns(&self, bucket: &HeldBucket) -> bool {
        bucket.limit == self.limit && bucket.burst == self.capacity()
    }

    /// The terms of another rule, under which a bucket is kept.
    fn of(&self, bucket: &HeldBucket) -> Self {
        Self { limit: bucket.limit, algorithm: Algorithm::Gcra { burst: bucket.burst }, ..*self }
    }
}

impl HeldBucket {
    fn state(&self) -> CounterState {
        CounterState::Arrival(self.arrival)
    }
}

/// A change that all buckets of a counter share.
#[derive(Clone, Copy)]
enum Shared {
    Taken(u64),
    Refunded(u64),
}
