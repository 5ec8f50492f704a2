//! Each algorithm, and the in-memory store with it, beside a model that keeps all that has happened.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use crate::{
    counter::{Counter, Family, Name, Stem, SubjectPart},
    rule::{
        algorithm::Algorithm,
        limit::Limit,
        terms::{CounterState, Terms},
    },
    store::{Hit, memory::MemoryStore},
};

const MICROS: u64 = 1_000_000;

/// No multiple of anything.
const START: Duration = Duration::from_micros(1_700_000_007_123_457);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Some microseconds pass.
    Wait(u64),
    /// A request of this cost.
    Ask(u64),
    /// The last request that was admitted and not yet given back is given back.
    Refund,
}

fn terms(algorithm: Algorithm, limit: u32, per: u32, phase: u32) -> Terms {
    Terms { limit: Limit { limit, per }, algorithm, phase, cost: 1 }
}

fn hit(terms: Terms) -> Hit {
    let scope = smallvec::smallvec![SubjectPart::Global];
    let counter = Counter {
        family: Family::new(0),
        stem: Stem { key: Name::Rule("a"), per: terms.limit.per, kind: "", ordinal: 0 },
        scope,
    };
    Hit { hash: counter.hash(), terms, refuses: true, lease: 1, on_store_error: None }
}

/// Steps of which many fall into one window of `per` seconds, and some far apart.
fn steps(per: u32, cost: u64) -> impl Strategy<Value = Vec<Step>> {
    let micros = u64::from(per) * MICROS;
    let step = prop_oneof![
        2 => (0..=micros / 4).prop_map(Step::Wait),
        1 => (0..=3 * micros).prop_map(Step::Wait),
        6 => (0..=cost).prop_map(Step::Ask),
        1 => Just(Step::Refund),
    ];
    vec(step, 1..120)
}

/// A limit, a window, a phase, and steps.
fn histories() -> impl Strategy<Value = (u32, u32, u32, Vec<Step>)> {
    (1..40_u32, prop_oneof![1..5_u32, 60..4000_u32])
        .prop_flat_map(|(limit, per)| (Just(limit), Just(per), 0..per, steps(per, u64::from(limit / 3 + 2))))
}

/// A request that was admitted: when, how much it took, and of what.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Taken {
    at: Duration,
    tokens: u64,
    window_end: u64,
}

/// A rule's bucket in a counter of GCRA, in nanoseconds.
#[derive(Clone, Debug)]
struct Bucket {
    terms: Terms,
    taken: u128,
    /// It had too few tokens for another rule, since it was full last.
    is_overdrawn: bool,
}

impl Bucket {
    fn of(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.terms.emission())
    }

    fn used(&self) -> u128 {
        self.taken.div_ceil(self.of(1))
    }

    fn take(&mut self, tokens: u64) {
        let (taken, full) = (self.taken + self.of(tokens), self.of(self.terms.capacity().into()));
        self.is_overdrawn = self.is_overdrawn && self.taken > 0 || taken > full;
        self.taken = taken.min(full);
    }

    fn refund(&mut self, tokens: u64, rule: &Terms) {
        if self.terms == *rule || !self.is_overdrawn {
            self.taken = self.taken.saturating_sub(self.of(tokens));
        }
    }
}

/// Runs `steps` through the in-memory store, and asks `fits` of each request whether it should fit, by what was admitted
/// and not given back. Returns what was admitted, given back or not.
fn run(
    terms: Terms,
    steps: &[Step],
    mut fits: impl FnMut(&[Taken], u64, Duration) -> bool,
) -> Result<Vec<Taken>, TestCaseError> {
    let (store, mut now, mut counted, mut all) = (MemoryStore::new(1), START, Vec::new(), Vec::new());
    for step in steps {
        match *step {
            Step::Wait(micros) => now += Duration::from_micros(micros),
            Step::Ask(cost) => {
                let hit = hit(Terms { cost, ..terms });
                let outcome = store.hit(now, std::slice::from_ref(&hit))[0];
                let expected = cost == 0 || fits(&counted, cost, now);
                prop_assert_eq!(!outcome.over, expected, "cost {} at {:?} after {:?}", cost, now, counted);
                prop_assert_eq!(outcome.taken, if expected { cost } else { 0 });
                if outcome.taken > 0 {
                    counted.push(Taken { at: now, tokens: cost, window_end: outcome.window_end });
                    all.push(counted[counted.len() - 1]);
                }
            }
            Step::Refund => {
                if let Some(taken) = counted.pop() {
                    let hit = hit(terms);
                    store.refund(now, &hit, taken.window_end, taken.tokens);
                }
            }
        }
    }
    Ok(all)
}

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

/// Checks how many tokens were admitted from each request to each, both included.
fn for_each_time(
    all: &[Taken],
    check: impl Fn(Duration, u64) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    for (index, first) in all.iter().enumerate() {
        let mut tokens = 0;
        for last in &all[index..] {
            tokens += last.tokens;
            check(last.at - first.at, tokens)?;
        }
    }
    Ok(())
}

fn without_refunds(steps: Vec<Step>) -> Vec<Step> {
    steps.into_iter().filter(|step| !matches!(step, Step::Refund)).collect()
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

    #[test]
    fn gcra_is_a_bucket_of_tokens((limit, per, _, steps) in histories(), burst in 1..60_u32) {
        let terms = terms(Algorithm::Gcra { burst }, limit, per, 0);
        let emission = (u128::from(per) * 1_000_000_000).div_ceil(limit.into());
        let full = u128::from(burst) * emission;
        let (mut level, mut filled) = (full, START);
        let steps = without_refunds(steps);
        let all = run(terms, &steps, |_, cost, now| {
            level = (level + (now - filled).as_nanos()).min(full);
            filled = now;
            let fits = level / emission >= u128::from(cost);
            if fits {
                level -= u128::from(cost) * emission;
            }
            fits
        })?;
        // Never more than the rate says, though a token's time is rounded to whole nanoseconds.
        for_each_time(&all, |time, tokens| {
            let back = time.as_nanos() * u128::from(limit) / (u128::from(per) * 1_000_000_000);
            prop_assert!(u128::from(tokens) <= u128::from(burst) + back, "{} in {:?}", tokens, time);
            Ok(())
        })?;
    }

    #[test]
    fn gcra_gives_tokens_back_that_would_not_have_come_back_yet(
        (limit, per, _, _) in histories(),
        burst in 1..60_u32,
        costs in vec(1..5_u64, 1..20),
    ) {
        let terms = terms(Algorithm::Gcra { burst }, limit, per, 0);
        let store = MemoryStore::new(1);
        let mut taken = Vec::new();
        for cost in costs {
            let outcome = store.hit(START, &[hit(Terms { cost, ..terms })])[0];
            prop_assert_eq!(outcome.taken > 0, taken.iter().sum::<u64>() + cost <= u64::from(burst));
            if outcome.taken > 0 {
                taken.push(cost);
            }
        }
        for tokens in taken {
            store.refund(START, &hit(terms), u64::MAX, tokens);
        }
        let peek = store.hit(START, &[hit(Terms { cost: 0, ..terms })])[0];
        prop_assert_eq!(peek.remaining, burst);
    }

    /// Rules with different rates share a counter: each has a bucket, and whatever is taken is taken from all.
    #[test]
    fn rules_of_gcra_that_share_a_counter_keep_their_own_limits(
        per in prop_oneof![1..5_u32, 60..4000_u32],
        rates in vec((1..40_u32, 1..60_u32), 1..4),
        steps in vec((0..4_usize, prop_oneof![3 => Just(0), 1 => 0..2_000_000_u64], 0..4_u64, prop::bool::weighted(0.2)), 1..120),
    ) {
        let rules: Vec<Terms> =
            rates.iter().map(|(limit, burst)| terms(Algorithm::Gcra { burst: *burst }, *limit, per, 0)).collect();
        let store = MemoryStore::new(1);
        let mut buckets: Vec<Bucket> = Vec::new();
        let (mut now, mut then) = (START, START);
        for (rule, micros, cost, is_given_back) in steps {
            // In parts of a window.
            now += Duration::from_micros(micros * u64::from(per) / 2);
            for bucket in &mut buckets {
                bucket.taken = bucket.taken.saturating_sub((now - then).as_nanos());
            }
            then = now;
            let rule = rules[rule % rules.len()];
            let own = buckets.iter().find(|bucket| bucket.terms == rule).cloned();
            let own = own.unwrap_or_else(|| {
                let used = buckets.iter().map(Bucket::used).max().unwrap_or(0);
                let capacity = u128::from(rule.capacity());
                let taken = used.min(capacity) * u128::from(rule.emission());
                Bucket { terms: rule, taken, is_overdrawn: used > capacity }
            });
            let left = u128::from(rule.capacity()) - own.used();
            let outcome = store.hit(now, &[hit(Terms { cost, ..rule })])[0];
            prop_assert_eq!(!outcome.over, u128::from(cost) <= left, "{} under {:?}: {:?}", cost, rule, &buckets);
            prop_assert_eq!(u128::from(outcome.remaining), left - u128::from(outcome.taken));
            if outcome.taken > 0 {
                buckets.retain(|bucket| bucket.terms != rule);
                buckets.push(own);
                buckets.iter_mut().for_each(|bucket| bucket.take(cost));
                if is_given_back {
                    store.refund(now, &hit(rule), outcome.window_end, cost);
                    buckets.iter_mut().for_each(|bucket| bucket.refund(cost, &rule));
                }
            }
        }
    }

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

/// A counter that nobody has used.
fn start(terms: &Terms, now: Duration) -> CounterState {
    let end = terms.window_end(now.as_secs());
    match terms.algorithm {
        Algorithm::FixedWindow => CounterState::Window { used: 0, end },
        Algorithm::SlidingWindow => CounterState::Windows { used: 0, before: 0, end },
        Algorithm::Gcra { .. } => CounterState::Arrival(0),
    }
}

/// What a store finds at `now` of a counter that was last changed earlier.
fn at(terms: &Terms, found: CounterState, now: Duration) -> CounterState {
    let new = terms.window_end(now.as_secs());
    match found {
        CounterState::Window { end, .. } | CounterState::Windows { end, .. } if end == new => found,
        CounterState::Windows { used, end, .. } if end + u64::from(terms.limit.per) == new => {
            CounterState::Windows { used: 0, before: used, end: new }
        }
        CounterState::Window { .. } | CounterState::Windows { .. } => start(terms, now),
        CounterState::Arrival(_) => found,
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
