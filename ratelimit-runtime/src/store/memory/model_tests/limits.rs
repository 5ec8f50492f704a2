//! The arithmetic of each algorithm: the time of the reset, and the largest numbers.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever is refused gets in when the answer said, and not a second earlier.
    #[test]
    fn a_refused_request_fits_at_its_reset_time(
        (limit, per, phase, steps) in histories(),
        algorithm in prop_oneof![
            Just(Algorithm::FixedWindow),
            Just(Algorithm::SlidingWindow),
            (1..60_u32).prop_map(|burst| Algorithm::Gcra { burst }),
        ],
    ) {
        let terms = terms(algorithm, limit, per, phase);
        let (mut found, mut now) = (start(&terms, START), START);
        for step in without_refunds(steps) {
            match step {
                Step::Wait(micros) => now += Duration::from_micros(micros),
                Step::Ask(cost) => {
                    let terms = Terms { cost, ..terms };
                    found = at(&terms, found, now);
                    if terms.fits(found, now) {
                        found = terms.take(found, cost, now);
                    } else if cost <= u64::from(terms.capacity()) {
                        let reset = terms.reset(found, false, now);
                        prop_assert!(reset > now);
                        prop_assert!(terms.fits(at(&terms, found, reset), reset), "at {:?}: {:?}", reset, found);
                        let early = reset - Duration::from_micros(1);
                        if early > now {
                            prop_assert!(!terms.fits(at(&terms, found, early), early), "{:?}: {:?}", early, found);
                        }
                    }
                }
                Step::Refund => {}
            }
        }
    }

}

#[test]
fn no_counter_is_larger_than_its_type() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::Gcra { burst: u32::MAX }] {
        let per = if matches!(algorithm, Algorithm::Gcra { .. }) { 90 * 86_400 } else { i32::MAX as u32 / 2 };
        let terms = Terms { cost: 1 << 33, ..terms(algorithm, u32::MAX, per, per - 1) };
        let full = Terms { cost: u32::MAX.into(), ..terms };
        let mut found = start(&terms, START);
        assert!(full.fits(found, START) && !terms.fits(found, START), "{algorithm:?}");
        found = full.take(full.take(found, u32::MAX.into(), START), u32::MAX.into(), START);
        assert_eq!((terms.remaining(found, START), full.fits(found, START)), (0, false), "{algorithm:?}");
        assert!(terms.reset(found, false, START) > START, "{algorithm:?}");
        found = full.refund(full.refund(found, u64::MAX), u64::MAX);
        assert_eq!(terms.remaining(found, START), u32::MAX, "{algorithm:?}");
    }
}
