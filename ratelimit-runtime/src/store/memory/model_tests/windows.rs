//! Fixed and sliding windows beside a list of all charges.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn sum(taken: &[Taken], window_end: u64) -> u64 {
    taken.iter().filter(|taken| taken.window_end == window_end).map(|taken| taken.tokens).sum()
}

/// The end of a window, by another way.
fn end_of_window(terms: &Terms, now: Duration) -> u64 {
    let mut end = u64::from(terms.phase) % u64::from(terms.limit.per);
    end += (now.as_secs() - end) / u64::from(terms.limit.per) * u64::from(terms.limit.per);
    end + u64::from(terms.limit.per)
}

/// What a sliding window weighs, in whole numbers.
fn weighed(before: u64, end: u64, per: u32, now: Duration) -> u64 {
    let left = (Duration::from_secs(end) - now).as_micros();
    (u128::from(before) * left).div_ceil(u128::from(per) * 1_000_000) as u64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fixed_window_counts_what_is_in_it((limit, per, phase, steps) in histories()) {
        let terms = terms(Algorithm::FixedWindow, limit, per, phase);
        run(terms, &steps, |counted, cost, now| {
            sum(counted, end_of_window(&terms, now)) + cost <= u64::from(limit)
        })?;
    }

    #[test]
    fn a_sliding_window_weighs_the_one_before((limit, per, phase, steps) in histories()) {
        let terms = terms(Algorithm::SlidingWindow, limit, per, phase);
        run(terms, &steps, |counted, cost, now| {
            let end = end_of_window(&terms, now);
            let before = sum(counted, end - u64::from(per));
            sum(counted, end) + weighed(before, end, per, now) + cost <= u64::from(limit)
        })?;
    }

    /// Beside a true log of requests, this is the error.
    #[test]
    fn a_sliding_window_admits_in_any_time_its_limit_and_as_much_of_it_as_the_time_is_of_a_window((limit, per, phase, steps) in histories()) {
        let terms = terms(Algorithm::SlidingWindow, limit, per, phase);
        let all = run(terms, &without_refunds(steps), |counted, cost, now| {
            let end = end_of_window(&terms, now);
            sum(counted, end) + weighed(sum(counted, end - u64::from(per)), end, per, now) + cost <= u64::from(limit)
        })?;
        for_each_time(&all, |time, tokens| {
            let micros = u128::from(per) * 1_000_000;
            let most = u128::from(limit) * (micros + time.as_micros()) / micros;
            prop_assert!(u128::from(tokens) <= most, "{} in {:?}", tokens, time);
            prop_assert!(time.as_secs() >= per.into() || tokens < 2 * u64::from(limit), "{} in {:?}", tokens, time);
            Ok(())
        })?;
    }

    /// Numbers as large as an attribute may have, which are rounded on their way.
    #[test]
    fn a_large_sliding_window_is_off_by_no_more_than_one(
        limit in 1..=u32::MAX,
        per in 1..=i32::MAX as u32 / 2,
        used in any::<u32>(),
        before in 1..=u32::MAX,
        passed in 0..=i32::MAX as u64 / 2,
        cost in 1..=u64::from(u32::MAX),
    ) {
        let terms = Terms { cost, ..terms(Algorithm::SlidingWindow, limit, per, 0) };
        let end = terms.window_end(START.as_secs());
        let now = Duration::from_secs(end) - Duration::from_micros(1 + passed * MICROS % (u64::from(per) * MICROS));
        let exact = u64::from(used) + weighed(before.into(), end, per, now);
        let found = CounterState::Windows { used, before, end };
        prop_assert!(terms.used(found, now).abs_diff(exact) <= 1);
        if !terms.fits(found, now) && cost <= u64::from(limit) {
            let reset = terms.reset(found, false, now);
            prop_assert!(terms.fits(at(&terms, found, reset), reset), "at {:?}: {:?}", reset, found);
        }
    }

}

#[test]
fn a_sliding_window_may_admit_one_less_than_twice_its_limit() {
    let terms = terms(Algorithm::SlidingWindow, 10, 100, 0);
    let store = MemoryStore::new(1);
    let ask = |micros: u64| store.hit(Duration::from_micros(micros), &[hit(terms)])[0].taken;
    // At the very end of one window, and at the very end of the next: within less than 100 seconds.
    let admitted: u64 =
        [1_099_999_999, 1_199_999_998].into_iter().map(|at| (0..20).map(|_| ask(at)).sum::<u64>()).sum();
    assert_eq!(admitted, 19);
}

#[test]
fn a_sliding_window_refunds_into_the_window_that_counted() {
    let terms = terms(Algorithm::SlidingWindow, 10, 100, 0);
    let store = MemoryStore::new(1);
    let taken = |at: u64| (0..20).map(|_| store.hit(Duration::from_secs(at), &[hit(terms)])[0].taken).sum::<u64>();
    assert_eq!(taken(1099), 10);
    let next = Duration::from_secs(1100);
    store.refund(next, &hit(terms), 1100, 4);
    assert_eq!(taken(1100), 4);
    store.refund(next, &hit(terms), 1000, 4);
    assert_eq!(taken(1100), 0, "a window that is over");
}
