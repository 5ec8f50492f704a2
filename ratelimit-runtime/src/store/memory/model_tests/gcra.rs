//! GCRA beside buckets of tokens.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;

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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

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

}
