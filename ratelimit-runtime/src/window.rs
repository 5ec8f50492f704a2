//! The decision: a fixed window, aligned to the epoch. Pure arithmetic; time and counts are passed in.

/// The end of the window of `per` seconds in which `now` lies, both in seconds since the epoch.
pub(crate) fn end(now: u64, per: u32) -> u64 {
    let per = u64::from(per);
    (now / per).saturating_add(1).saturating_mul(per)
}

/// Whether one more request fits where `used` were counted.
pub(crate) fn fits(used: u32, limit: u32) -> bool {
    used < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_the_epoch_and_end_after_now() {
        for (now, per, expected) in
            [(0, 300, 300), (299, 300, 300), (300, 300, 600), (7, 1, 8), (1, u32::MAX, 4_294_967_295)]
        {
            assert_eq!(end(now, per), expected);
        }
        assert!(end(u64::MAX, 1) >= u64::MAX - 1, "no overflow at the end of time");
    }

    #[test]
    fn the_request_after_the_limit_is_refused() {
        assert!(fits(299, 300));
        assert!(!fits(300, 300));
        assert!(!fits(u32::MAX, 300));
    }
}
