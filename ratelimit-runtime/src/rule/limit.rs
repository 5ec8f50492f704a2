//! The limit of a rule: so many requests in so many seconds.

/// The longest window, in seconds (68 years): counters keep the end of their window in 32 bits, and half of
/// that range tells the past from the future.
pub(crate) const LONGEST_WINDOW: i128 = i32::MAX as i128;

/// The most places of a counter: Redis reads and writes all of them at each check.
pub(crate) const MOST_PLACES: i128 = 10_000;

/// The longest time for which a place is kept without being renewed, in seconds: one day.
pub(crate) const LONGEST_HOLD: i128 = 86_400;

/// `limit` requests in `per` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "bench-internals"), expect(unreachable_pub, reason = "bench_internals exports it"))]
pub struct Limit {
    pub(crate) limit: u32,
    pub(crate) per: u32,
}

impl Limit {
    /// `limit` requests in a window of `per` seconds. Out of range, constant evaluation fails: both come from
    /// attributes, so this is a compile error there.
    #[must_use]
    #[track_caller]
    #[cfg_attr(not(feature = "bench-internals"), expect(unreachable_pub, reason = "bench_internals exports it"))]
    pub const fn new(limit: i128, per: i128) -> Self {
        assert!(limit >= 1, "`limit` must be at least 1");
        assert!(limit <= u32::MAX as i128, "`limit` must be at most 4294967295");
        assert!(per >= 1, "`per` must be at least 1 second");
        assert!(per <= LONGEST_WINDOW, "`per` must be at most 2147483647 seconds");
        Self { limit: limit as u32, per: per as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_keeps_its_whole_range() {
        let limit = Limit::new(u32::MAX.into(), LONGEST_WINDOW);
        assert_eq!((limit.limit, limit.per), (u32::MAX, i32::MAX as u32));
    }
}
