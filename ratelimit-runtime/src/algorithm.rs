//! The decision: fixed windows, sliding windows, and GCRA. Pure arithmetic; time and counts are passed in.
//!
//! The script in Redis works the same sums, number for number.

use std::time::Duration;

use crate::policy::{Algorithm, Limit};

/// What a rule allows, and what a request wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) limit: Limit,
    pub(crate) algorithm: Algorithm,
    /// How many seconds after the epoch a window began.
    pub(crate) phase: u32,
    /// How much of the limit the request takes; more than any limit, if it never fits.
    pub(crate) cost: u64,
}

/// A counter as a store found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// What was counted in the window that ends then.
    Window { used: u32, end: u64 },
    /// What was counted in the window that ends then, and in the one before.
    Windows { used: u32, before: u32, end: u64 },
    /// When all that was taken will have come back, in nanoseconds since the epoch: GCRA's theoretical arrival time. It is that of
    /// the rule's own bucket: rules with different rates that share a counter have one each.
    Arrival(u64),
}

/// In a second.
pub(crate) const NANOS: u64 = 1_000_000_000;
const MICROS: u64 = 1_000_000;

impl Terms {
    /// The end of the window in which `now` lies, in seconds since the epoch.
    #[inline(always)]
    pub(crate) fn window_end(&self, now: u64) -> u64 {
        let (per, phase) = (u64::from(self.limit.per), u64::from(self.phase));
        match now.checked_sub(phase) {
            Some(since) => (since / per).saturating_add(1).saturating_mul(per).saturating_add(phase),
            None => phase,
        }
    }

    /// How much may pass at once.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> u32 {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.limit.limit,
            Algorithm::Gcra { burst } => burst,
        }
    }

    /// The time in which one token of GCRA comes back, in nanoseconds, rounded up.
    pub(crate) fn emission(&self) -> u64 {
        (u64::from(self.limit.per) * NANOS).div_ceil(self.limit.limit.into())
    }

    /// How long GCRA's tokens take to come back when all are used; at most 90 days, as a rule's constructor makes sure.
    fn tolerance(&self) -> u64 {
        u64::from(self.capacity()) * self.emission()
    }

    /// How much of the capacity is used, rounded up.
    #[inline(always)]
    pub(crate) fn used(&self, found: Found, now: Duration) -> u64 {
        match found {
            Found::Window { used, .. } => used.into(),
            Found::Windows { used, before, end } => u64::from(used) + self.weighed(before, end, now),
            Found::Arrival(arrival) => self.outstanding(arrival, now).div_ceil(self.emission()),
        }
    }

    #[inline(always)]
    pub(crate) fn remaining(&self, found: Found, now: Duration) -> u32 {
        u64::from(self.capacity()).saturating_sub(self.used(found, now)).try_into().unwrap_or(u32::MAX)
    }

    /// Whether the request fits. One that costs nothing does.
    #[inline(always)]
    pub(crate) fn fits(&self, found: Found, now: Duration) -> bool {
        self.cost == 0 || self.used(found, now).saturating_add(self.cost) <= self.capacity().into()
    }

    /// The counter after `tokens` were taken from it.
    #[inline(always)]
    pub(crate) fn take(&self, found: Found, tokens: u64, now: Duration) -> Found {
        let more = |used: u32| u32::try_from(u64::from(used).saturating_add(tokens)).unwrap_or(u32::MAX);
        match found {
            Found::Window { used, end } => Found::Window { used: more(used), end },
            Found::Windows { used, before, end } => Found::Windows { used: more(used), before, end },
            Found::Arrival(arrival) => {
                let from = nanos(now).saturating_add(self.outstanding(arrival, now));
                Found::Arrival(from.saturating_add(tokens.saturating_mul(self.emission())))
            }
        }
    }

    /// The bucket of GCRA after another rule has taken `tokens` from the counter: as many are taken as there are.
    pub(crate) fn take_at_most(&self, found: Found, tokens: u64, now: Duration) -> Found {
        match self.take(found, tokens, now) {
            Found::Arrival(arrival) => Found::Arrival(arrival.min(nanos(now).saturating_add(self.tolerance()))),
            found => found,
        }
    }

    /// A bucket of GCRA from which so many tokens are taken, or all.
    pub(crate) fn with_used(&self, used: u64, now: Duration) -> Found {
        match used.min(self.capacity().into()) {
            0 => Found::Arrival(0),
            used => Found::Arrival(nanos(now).saturating_add(used * self.emission())),
        }
    }

    /// The counter in the window that ends at `window_end`, which may be a later one than its own; `None` if that is over.
    #[cfg(feature = "redis")]
    pub(crate) fn in_window(&self, found: Found, window_end: u64) -> Option<Found> {
        match found {
            Found::Window { end, .. } if end < window_end => Some(Found::Window { used: 0, end: window_end }),
            Found::Window { end, .. } | Found::Windows { end, .. } if end != window_end => None,
            found => Some(found),
        }
    }

    /// The counter after `tokens` were given back to it.
    pub(crate) fn give_back(&self, found: Found, tokens: u64) -> Found {
        let less = |used: u32| u32::try_from(u64::from(used).saturating_sub(tokens)).unwrap_or_default();
        match found {
            Found::Window { used, end } => Found::Window { used: less(used), end },
            Found::Windows { used, before, end } => Found::Windows { used: less(used), before, end },
            Found::Arrival(arrival) => Found::Arrival(arrival.saturating_sub(tokens.saturating_mul(self.emission()))),
        }
    }

    /// When the client may count on more: of a request that does not fit, when it will; else when the window ends, or
    /// all tokens of GCRA are back.
    #[inline(always)]
    pub(crate) fn reset(&self, found: Found, fits: bool, now: Duration) -> Duration {
        match found {
            Found::Window { end, .. } => Duration::from_secs(end),
            Found::Windows { end, .. } if fits => Duration::from_secs(end),
            Found::Windows { used, before, end } => self.sliding_reset(used, before, end),
            Found::Arrival(arrival) => {
                let all = self.outstanding(arrival, now);
                let room = u64::from(self.capacity()).checked_sub(self.cost).map(|room| room * self.emission());
                let wait = if fits { all } else { room.map_or(all, |room| all.saturating_sub(room)) };
                now + Duration::from_nanos(wait)
            }
        }
    }

    /// When what has been counted has faded so far that the request fits: in this window, or in the next.
    fn sliding_reset(&self, used: u32, before: u32, end: u64) -> Duration {
        let next = end.saturating_add(self.limit.per.into());
        let room = |used: u32| u64::from(self.limit.limit).checked_sub(self.cost)?.checked_sub(used.into());
        match (room(used), room(0)) {
            (Some(room), _) => self.faded(before, room, end),
            (None, Some(room)) => self.faded(used, room, next),
            (None, None) => Duration::from_secs(next),
        }
    }

    /// When no more than `room` counts of what was counted before the window that ends at `end`.
    fn faded(&self, before: u32, room: u64, end: u64) -> Duration {
        let (before, micros) = (u128::from(before).max(1), u128::from(self.limit.per) * u128::from(MICROS));
        let left = (u128::from(room) * micros / before).min(micros);
        // Where the sums of `weighed` are rounded, an instant later is sure to be enough.
        let left = if before * left < 1 << f64::MANTISSA_DIGITS { left } else { left.saturating_sub(1) };
        Duration::from_secs(end).saturating_sub(Duration::from_micros(left as u64))
    }

    /// What counts of the window before: as much as is left of this one. In numbers such as the script in Redis has, and
    /// multiplied first: so what comes out even stays so.
    fn weighed(&self, before: u32, end: u64, now: Duration) -> u64 {
        let micros = (u64::from(self.limit.per) * MICROS) as f64;
        let left = (Duration::from_secs(end).saturating_sub(now).as_micros() as f64).min(micros);
        (f64::from(before) * left / micros).ceil() as u64
    }

    /// How far GCRA's arrival time is ahead, in nanoseconds: never further than all of the tokens. If it seems to be, the
    /// clock was set back. What is further still starts anew, or clients would wait for the clock to catch up.
    fn outstanding(&self, arrival: u64, now: Duration) -> u64 {
        let (ahead, all) = (arrival.saturating_sub(nanos(now)), self.tolerance());
        if ahead <= 2 * all.max(u64::from(self.limit.per) * NANOS) { ahead.min(all) } else { 0 }
    }
}

/// Until the year 2554.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tests;
