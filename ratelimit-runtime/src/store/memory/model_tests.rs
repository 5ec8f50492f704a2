//! Each algorithm, and the in-memory store with it, beside a model that keeps all that has happened.

mod gcra;
mod limits;
mod windows;

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use crate::{
    counter::{BaseHash, BaseName, Counter, Name, SubjectPart},
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
        base_hash: BaseHash::new(0),
        base: BaseName { key: Name::Rule("a"), per: terms.limit.per, kind: "", ordinal: 0 },
        scope,
    };
    Hit { hash: counter.hash(), terms, refuses: true, lease: 1, on_store_error: None, place: 0, block: None }
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

/// A counter that nobody has used.
fn start(terms: &Terms, now: Duration) -> CounterState {
    let end = terms.window_end(now.as_secs());
    match terms.algorithm {
        Algorithm::FixedWindow => CounterState::Window { used: 0, end },
        Algorithm::SlidingWindow => CounterState::Windows { used: 0, before: 0, end },
        Algorithm::Gcra { .. } => CounterState::Arrival(0),
        Algorithm::Concurrency => CounterState::Places(0),
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
        CounterState::Arrival(_) | CounterState::Places(_) | CounterState::Blocked { .. } => found,
    }
}
