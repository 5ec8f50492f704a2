//! The arithmetic of windows, which begin at multiples of their length since the epoch, or later by a phase.

use crate::rule::limit::Limit;

/// The end of the window in which `now` lies. Both are in seconds since the epoch.
#[inline]
pub(crate) fn end(Limit { per, .. }: Limit, phase: u32, now: u64) -> u64 {
    let (per, phase) = (u64::from(per), u64::from(phase));
    match now.checked_sub(phase) {
        Some(since) => (since / per).saturating_add(1).saturating_mul(per).saturating_add(phase),
        None => phase,
    }
}

/// The count of a window after `tokens` were taken.
#[inline]
pub(crate) fn take(used: u32, tokens: u64) -> u32 {
    u32::try_from(u64::from(used).saturating_add(tokens)).unwrap_or(u32::MAX)
}

/// The count of a window after `tokens` were refunded.
pub(crate) fn refund(used: u32, tokens: u64) -> u32 {
    u32::try_from(u64::from(used).saturating_sub(tokens)).unwrap_or_default()
}
