//! The arithmetic of sliding windows: the count of this window, and a share of the last one's.
//!
//! The script in Redis computes the same numbers, in doubles and in the same order of operations.

use std::time::Duration;

use crate::rule::limit::Limit;

const MICROS: u64 = 1_000_000;

/// The share of the last window's count: as much as is left of this window, rounded up. The product comes before the quotient, so an
/// even result stays even.
pub(crate) fn weighed(Limit { per, .. }: Limit, before: u32, end: u64, now: Duration) -> u64 {
    let micros = (u64::from(per) * MICROS) as f64;
    let left = (Duration::from_secs(end).saturating_sub(now).as_micros() as f64).min(micros);
    (f64::from(before) * left / micros).ceil() as u64
}

/// The time at which a refused request of this cost fits: in this window, or in the next.
pub(crate) fn reset(rate: Limit, cost: u64, used: u32, before: u32, end: u64) -> Duration {
    let next = end.saturating_add(rate.per.into());
    let room = |used: u32| u64::from(rate.limit).checked_sub(cost)?.checked_sub(used.into());
    match (room(used), room(0)) {
        (Some(room), _) => faded(rate, before, room, end),
        (None, Some(room)) => faded(rate, used, room, next),
        (None, None) => Duration::from_secs(next),
    }
}

/// The time at which no more than `room` counts of what was counted before the window that ends at `end`.
fn faded(Limit { per, .. }: Limit, before: u32, room: u64, end: u64) -> Duration {
    let (before, micros) = (u128::from(before).max(1), u128::from(per) * u128::from(MICROS));
    let left = (u128::from(room) * micros / before).min(micros);
    // Where `weighed` rounds its product, one microsecond later is sure to be enough.
    let left = if before * left < 1 << f64::MANTISSA_DIGITS { left } else { left.saturating_sub(1) };
    Duration::from_secs(end).saturating_sub(Duration::from_micros(left as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_share_of_the_last_window_is_not_rounded() {
        let rate = Limit { limit: 100, per: 100 };
        for before in 1..=100_u32 {
            for left in 0..=100_u64 {
                let expected = (u64::from(before) * left).div_ceil(100);
                let now = Duration::from_secs(1100 - left);
                assert_eq!(weighed(rate, before, 1100, now), expected, "{before} with {left} left");
            }
        }
    }
}
