//! Single instants and counts at which an algorithm turns: edges that random histories seldom meet.

use super::*;
use crate::rule::algorithm::gcra::NANOS;

/// No multiple of anything.
const START: Duration = Duration::from_micros(1_700_000_007_123_457);

fn terms(algorithm: Algorithm, limit: u32, per: u32, phase: u32) -> Terms {
    Terms { limit: Limit { limit, per }, algorithm, phase, cost: 1 }
}

#[test]
fn windows_follow_each_other_from_the_epoch_on() {
    for phase in [0, 1, 7, 9] {
        let terms = terms(Algorithm::FixedWindow, 1, 10, phase);
        for now in 0..40 {
            let end = terms.window_end(now);
            assert!((now + 1..=now + 10).contains(&end), "{now} with {phase}: {end}");
            assert_eq!(end % 10, u64::from(phase) % 10, "{now} with {phase}");
        }
    }
}

#[test]
fn a_token_of_gcra_comes_back_no_earlier_than_the_rate_says() {
    // A third of a second is no whole number of nanoseconds.
    let terms = terms(Algorithm::Gcra { burst: 1 }, 3, 1, 0);
    let found = terms.take(CounterState::Arrival(0), 1, START);
    assert!(!terms.fits(found, START + Duration::from_nanos(333_333_333)));
    assert!(terms.fits(found, START + Duration::from_nanos(333_333_334)));
}

#[test]
fn a_request_that_costs_nothing_fits_also_what_another_rule_has_overfilled() {
    let terms = Terms { cost: 0, ..terms(Algorithm::FixedWindow, 10, 60, 0) };
    let end = terms.window_end(START.as_secs());
    assert!(terms.fits(CounterState::Window { used: 11, end }, START));
    assert!(!Terms { cost: 1, ..terms }.fits(CounterState::Window { used: 11, end }, START));
}

#[test]
fn the_reset_time_of_a_request_that_never_fits_is_that_of_an_empty_counter() {
    let of = |algorithm| Terms { cost: 11, ..terms(algorithm, 10, 60, 0) };
    let now = Duration::from_secs(1000);
    let reset = |terms: Terms, found| terms.reset(found, false, now).as_secs();
    assert_eq!(reset(of(Algorithm::FixedWindow), CounterState::Window { used: 5, end: 1020 }), 1020);
    assert_eq!(reset(of(Algorithm::SlidingWindow), CounterState::Windows { used: 5, before: 5, end: 1020 }), 1080);
    assert_eq!(reset(of(Algorithm::Gcra { burst: 10 }), CounterState::Arrival(1030 * NANOS)), 1030);
}

#[test]
fn a_clock_set_back_costs_gcra_no_more_than_all_tokens() {
    // Its 4 tokens take 24 seconds to come back.
    let terms = terms(Algorithm::Gcra { burst: 4 }, 10, 60, 0);
    let full = terms.take(CounterState::Arrival(0), 4, START);
    for (seconds, used) in [(0, 4), (50, 4), (96, 4), (97, 0), (1000, 0)] {
        let now = START - Duration::from_secs(seconds);
        assert_eq!(terms.used(full, now), used, "set back by {seconds} s");
        // From then on it goes by the new time.
        let now_full = terms.take(full, 4 - used, now);
        let reset = terms.reset(now_full, false, now) - now;
        assert_eq!(reset, Duration::from_secs(6), "set back by {seconds} s");
    }
}

#[test]
fn the_window_before_weighs_no_more_than_it_counted() {
    let terms = terms(Algorithm::SlidingWindow, 100, 100, 0);
    assert_eq!(sliding_window::weighed(terms.limit, 10, 1100, Duration::from_secs(500)), 10, "the clock was set back");
}

/// Such as a store may give that counts by other rules.
#[test]
fn a_refusal_that_its_counts_do_not_explain_ends_with_the_window() {
    let terms = terms(Algorithm::SlidingWindow, u32::MAX, 100, 0);
    let reset = terms.reset(CounterState::Windows { used: 0, before: 0, end: 1100 }, false, Duration::from_secs(1050));
    assert!((Duration::from_secs(1000)..=Duration::from_secs(1100)).contains(&reset), "{reset:?}");
}

#[test]
fn a_refused_request_fits_at_its_reset_time_though_numbers_are_rounded() {
    let (before, room, per) = (3_064_969_529, 2_120_809_976, 1_291_808_551);
    let terms = terms(Algorithm::SlidingWindow, room + 1, per, 0);
    let end = 2 * u64::from(per);
    let found = CounterState::Windows { used: 0, before, end };
    let reset = terms.reset(found, false, Duration::from_secs(end - u64::from(per)));
    assert!(terms.fits(found, reset), "{reset:?}");
}

#[test]
fn what_another_store_counted_goes_into_its_window_or_a_later_one_begins() {
    let terms = terms(Algorithm::FixedWindow, 10, 60, 0);
    let found = CounterState::Window { used: 5, end: 120 };
    assert_eq!(terms.in_window(found, 120), Some(found));
    assert_eq!(terms.in_window(found, 180), Some(CounterState::Window { used: 0, end: 180 }));
    assert_eq!(terms.in_window(found, 60), None, "a window that is over");
    let found = CounterState::Windows { used: 5, before: 3, end: 120 };
    assert_eq!([60, 120, 180].map(|end| terms.in_window(found, end)), [None, Some(found), None]);
}
