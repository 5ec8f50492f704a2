//! Requests under one rule with a fixed window: they are added to their counters without a transaction.

use std::{collections::BTreeMap, time::Duration};

use crate::store::{
    contract::value::Value,
    sql::{
        batch::Job,
        rows::{Added, Addition},
    },
};

/// Sums up equal requests into additions, for windows at the time `now`. A request that differs from an earlier one at the same counter
/// needs a transaction, and is returned apart.
pub(super) fn sum_up(jobs: Vec<Job>, now: Duration) -> (Vec<Job>, Vec<Addition>, Vec<Job>) {
    let (mut additions, mut summed, mut others) = (BTreeMap::<String, Addition>::new(), Vec::new(), Vec::new());
    for job in jobs {
        let (Some(key), Some(increment)) = (job.operation().keys().next(), job.operation().increment(now)) else {
            others.push(job.for_transaction());
            continue;
        };
        let key = key.to_owned();
        let addition = additions.entry(key.clone()).or_insert_with(|| Addition { key, increment, requests: 0 });
        if addition.increment == increment {
            addition.requests += 1;
            summed.push(job);
        } else {
            others.push(job.for_transaction());
        }
    }
    (summed, additions.into_values().collect(), others)
}

/// Answers requests whose additions are done. Returns the others, for a transaction.
pub(super) fn answer(jobs: Vec<Job>, additions: &[Addition], added: Added) -> Vec<Job> {
    let Added { now, mut used } = added;
    let ends: BTreeMap<&str, u64> =
        additions.iter().map(|addition| (&*addition.key, addition.increment.window_end)).collect();
    let mut others = Vec::new();
    for job in jobs {
        let key = job.operation().keys().next().unwrap_or_default().to_owned();
        let (Some(used), Some(end)) = (used.get_mut(&key), ends.get(&*key)) else {
            others.push(job.for_transaction());
            continue;
        };
        // The statement has found the time in the window. It may have ended since.
        let now = now.min(Duration::from_secs(*end).saturating_sub(Duration::from_nanos(1)));
        let applied = job.operation().apply(now, &[Some(Value::window(*end, *used))]);
        let written = applied.iter().flat_map(|applied| applied.writes()).filter_map(|write| write.value());
        if let Some((_, next)) = written.filter_map(Value::as_window).next() {
            *used = next;
        }
        job.answer(applied);
    }
    others
}
