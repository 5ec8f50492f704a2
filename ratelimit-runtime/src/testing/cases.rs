//! The parts of the contract.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    decision::outcome::Outcome,
    limiter::RateLimiter,
    rule::{algorithm::Algorithm, block::Block, charge::Charged},
    testing::{
        counter::{Finding, TestCounter, count_all},
        history,
    },
};

/// Longer than the suite takes, so that no window ends meanwhile: it ends in the year 2038.
const FOREVER: u32 = i32::MAX as u32;

/// How many requests are under way at once, and how many each of them makes.
const CLIENTS: usize = 24;
const REQUESTS: usize = 10;

/// A limiter with a cache sees a reset by another within a second.
const VISIBLE: Duration = Duration::from_secs(5);

type Run = fn(Vec<RateLimiter>) -> Pin<Box<dyn Future<Output = Finding> + Send>>;

macro_rules! cases {
    ($($name:literal: $case:expr,)*) => {
        /// All cases, by name.
        pub(super) fn all() -> Vec<(&'static str, Run)> {
            vec![$(($name, |limiters| Box::pin($case(limiters)))),*]
        }
    };
}

cases! {
    "a history of fixed windows is that of the model": |limiters| history::run(limiters, Algorithm::FixedWindow),
    "a history of sliding windows is that of the model": |limiters| history::run(limiters, Algorithm::SlidingWindow),
    "a history of GCRA is that of the model": |limiters| history::run(limiters, Algorithm::Gcra { burst: 1 }),
    "a history of places is that of the model": |limiters| history::run(limiters, Algorithm::Concurrency),
    "requests at once are admitted up to the limit": at_once,
    "requests of different costs at once are admitted up to the limit": costs_at_once,
    "each window admits up to its limit, at its edges too": edges,
    "several rules count all or none": all_or_none,
    "several rules at once count all or none": all_or_none_at_once,
    "a refund reaches the window in which the tokens were taken": refund_into_window,
    "tokens are taken beyond the limit when a charge is settled": settled,
    "a reset admits again": reset,
    "a look counts nothing": look,
    "a counter is kept while it counts": kept,
    "a value that no limiter has written fails its own checks alone": foreign_values,
    "keys that differ in one letter, or in its case, are different counters": similar_keys,
    "rules with different limits share a counter": shared_counter,
    "who is refused is blocked for a while, and until a reset": blocks,
    "a place is held until it is released or ends": places,
}

fn kinds(limit: u32) -> [(Algorithm, u32); 4] {
    [
        (Algorithm::FixedWindow, FOREVER),
        (Algorithm::SlidingWindow, FOREVER / 2),
        // Too slow for a token to come back meanwhile.
        (Algorithm::Gcra { burst: limit }, 86_400),
        (Algorithm::Concurrency, 60),
    ]
}

fn expect(what: &str, expected: u64, found: u64) -> Finding {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}, found {found}")) }
}

/// Makes requests at once, through all limiters, and returns the outcomes.
async fn flood(
    counter: &TestCounter,
    limiters: &[RateLimiter],
    cost: fn(usize) -> u64,
) -> Result<Vec<Outcome>, String> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let counter = counter.through(&limiters[client % limiters.len()]);
        clients.spawn(async move {
            let mut outcomes = Vec::with_capacity(REQUESTS);
            for _ in 0..REQUESTS {
                outcomes.push(counter.count(cost(client)).await?);
            }
            Ok::<_, String>(outcomes)
        });
    }
    let mut all = Vec::new();
    while let Some(outcomes) = clients.join_next().await {
        all.extend(outcomes.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

async fn at_once(limiters: Vec<RateLimiter>) -> Finding {
    const LIMIT: u32 = 50;
    for (algorithm, per) in kinds(LIMIT) {
        let counter = TestCounter::new(&limiters[0], algorithm, LIMIT, per, "at-once");
        let admitted: u64 = flood(&counter, &limiters, |_| 1).await?.iter().map(|outcome| outcome.taken).sum();
        expect(&format!("{algorithm:?} admitted"), LIMIT.into(), admitted)?;
    }
    Ok(())
}

async fn costs_at_once(limiters: Vec<RateLimiter>) -> Finding {
    const LIMIT: u32 = 100;
    for (algorithm, per) in kinds(LIMIT).into_iter().filter(|(algorithm, _)| *algorithm != Algorithm::Concurrency) {
        let counter = TestCounter::new(&limiters[0], algorithm, LIMIT, per, "costs");
        let outcomes = flood(&counter, &limiters, |client| 1 + client as u64 % 5).await?;
        let mut taken: u64 = outcomes.iter().map(|outcome| outcome.taken).sum();
        // The remaining tokens may be too few for a dear request, after the last cheap one has come.
        for _ in 0..5 {
            taken += counter.count(1).await?.taken;
        }
        expect(&format!("{algorithm:?} took"), LIMIT.into(), taken)?;
    }
    Ok(())
}

async fn edges(limiters: Vec<RateLimiter>) -> Finding {
    const LIMIT: u64 = 40;
    let counter = TestCounter::new(&limiters[0], Algorithm::FixedWindow, LIMIT as u32, 1, "edges");
    let (mut windows, started) = (BTreeMap::<u64, u64>::new(), Instant::now());
    while started.elapsed() < Duration::from_millis(2500) {
        for outcome in flood(&counter, &limiters, |_| 1).await? {
            *windows.entry(outcome.window_end).or_default() += outcome.taken;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    match windows.iter().find(|(_, taken)| **taken > LIMIT) {
        Some((window_end, taken)) => Err(format!("the window that ends at {window_end} admitted {taken} of {LIMIT}")),
        None if windows.len() < 2 => Err(format!("in 2.5 seconds, no window of one second has ended: {windows:?}")),
        None => Ok(()),
    }
}

async fn all_or_none(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(10) {
        let wide = TestCounter::new(&limiters[0], algorithm, 10, per, "wide");
        let narrow = TestCounter::new(&limiters[0], Algorithm::FixedWindow, 2, FOREVER, "narrow");
        for round in 0..4 {
            let outcomes = count_all(&[(&wide, wide.hit(1)), (&narrow, narrow.hit(1))]).await?;
            let taken = u64::from(round < 2);
            expect(&format!("in round {round}, {algorithm:?} took"), taken, outcomes[0].taken)?;
            expect(&format!("in round {round}, the other rule took"), taken, outcomes[1].taken)?;
        }
        expect(&format!("{algorithm:?} has left"), 8, wide.peek().await?.remaining.into())?;
    }
    Ok(())
}

async fn all_or_none_at_once(limiters: Vec<RateLimiter>) -> Finding {
    const LIMIT: u64 = 20;
    let wide = TestCounter::new(&limiters[0], Algorithm::FixedWindow, 10_000, FOREVER, "wide");
    let narrow = TestCounter::new(&limiters[0], Algorithm::Gcra { burst: 20 }, 20, 86_400, "narrow");
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let limiter = &limiters[client % limiters.len()];
        let (wide, narrow) = (wide.through(limiter), narrow.through(limiter));
        clients.spawn(async move {
            let mut admitted = 0;
            for _ in 0..REQUESTS {
                // In either order: two requests that wait for each other would never end.
                let mut rules = [(&wide, wide.hit(1)), (&narrow, narrow.hit(1))];
                if client % 2 > 0 {
                    rules.reverse();
                }
                let outcomes = count_all(&rules).await?;
                admitted += u64::from(outcomes.iter().all(|outcome| outcome.taken == 1));
            }
            Ok::<_, String>(admitted)
        });
    }
    let mut admitted = 0;
    while let Some(client) = clients.join_next().await {
        admitted += client.map_err(|error| error.to_string())??;
    }
    expect("admitted by both rules", LIMIT, admitted)?;
    expect("left by the wide rule", 10_000 - LIMIT, wide.peek().await?.remaining.into())
}

async fn refund_into_window(limiters: Vec<RateLimiter>) -> Finding {
    let [fixed, sliding] = [(Algorithm::FixedWindow, 1), (Algorithm::SlidingWindow, 2)]
        .map(|(algorithm, per)| TestCounter::new(&limiters[0], algorithm, 10, per, "refund"));
    let charge = Charged::of(&fixed.count(3).await?);
    fixed.wait_for_end(charge.window_end).await?;
    let later = fixed.count(2).await?;
    fixed.settle(charge, 0).await;
    let after = fixed.peek().await?;
    if after.window_end == later.window_end {
        expect("a refund into a window that is over leaves in the next", 8, after.remaining.into())?;
    }
    let charge = Charged::of(&sliding.count(10).await?);
    sliding.wait_for_end(charge.window_end).await?;
    sliding.settle(charge, 0).await;
    // After the refund, the last window has no share in this one.
    let after = sliding.count(10).await?;
    expect("a refund into the last window makes room in this one for", 10, after.taken)
}

async fn settled(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(10).into_iter().filter(|(algorithm, _)| *algorithm != Algorithm::Concurrency) {
        let counter = TestCounter::new(&limiters[0], algorithm, 10, per, "settled");
        let charged = Charged::of(&counter.count(4).await?);
        let charged = counter.settle(charged, 6).await;
        expect(&format!("{algorithm:?} has left"), 4, counter.peek().await?.remaining.into())?;
        let charged = counter.settle(charged, 30).await;
        expect(&format!("{algorithm:?} admits"), 0, counter.count(1).await?.taken)?;
        counter.settle(charged, 0).await;
        eventually(&format!("{algorithm:?} has room for 10"), || async { Ok(counter.count(10).await?.taken == 10) })
            .await?;
    }
    Ok(())
}

async fn reset(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(3) {
        let counter = TestCounter::new(&limiters[0], algorithm, 3, per, "reset");
        for _ in 0..3 {
            counter.count(1).await?;
        }
        expect(&format!("{algorithm:?} admits"), 0, counter.count(1).await?.taken)?;
        counter.through(&limiters[1]).reset().await?;
        eventually(&format!("{algorithm:?} admits after a reset"), || async { Ok(counter.count(1).await?.taken == 1) })
            .await?;
        expect(&format!("{algorithm:?} has left"), 2, counter.peek().await?.remaining.into())?;
    }
    Ok(())
}

async fn look(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(5) {
        let counter = TestCounter::new(&limiters[0], algorithm, 5, per, "look");
        for remaining in [5, 4] {
            for limiter in &limiters {
                let found = counter.through(limiter).peek().await?;
                expect(&format!("{algorithm:?} has left"), remaining, found.remaining.into())?;
            }
            counter.count(1).await?;
        }
    }
    Ok(())
}

async fn kept(limiters: Vec<RateLimiter>) -> Finding {
    let counters = kinds(5).map(|(algorithm, per)| TestCounter::new(&limiters[0], algorithm, 5, per, "kept"));
    for counter in &counters {
        // A place always costs one.
        counter.count(if counter.terms.algorithm == Algorithm::Concurrency { 1 } else { 2 }).await?;
    }
    // Longer than a store might cache what it has written.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for counter in &counters {
        let expected = if counter.terms.algorithm == Algorithm::Concurrency { 4 } else { 3 };
        let remaining = counter.peek().await?.remaining.into();
        expect(&format!("after three seconds, {:?} has left", counter.terms.algorithm), expected, remaining)?;
    }
    Ok(())
}

async fn foreign_values(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(5) {
        // A store may keep fixed windows as numbers, and then `7` is a value.
        let skipped = if algorithm == Algorithm::FixedWindow { 2 } else { 0 };
        for text in ["", "7", "window", "windows 1 2", "buckets 5/86400/5/x", "places 1/2/3", "\u{e9}\u{1}'; --"]
            .into_iter()
            .skip(skipped)
        {
            let counter = TestCounter::new(&limiters[0], algorithm, 5, per, "foreign");
            let other = TestCounter::new(&limiters[0], algorithm, 5, per, "own");
            if !counter.plant(text).await? {
                return Ok(());
            }
            if let Ok(outcome) = counter.count(1).await {
                return Err(format!("{algorithm:?} with the value {text:?} answers {outcome:?}"));
            }
            expect("another counter admits", 1, other.count(1).await?.taken)?;
            counter.reset().await?;
            expect(&format!("after a reset, {algorithm:?} admits"), 1, counter.count(1).await?.taken)?;
        }
    }
    Ok(())
}

async fn similar_keys(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(1) {
        let counter = TestCounter::new(&limiters[0], algorithm, 1, per, "key-a");
        for letter in ['a', 'A', 'b', '-', '_', '.', '~', ':', ' ', '%', '/', '\'', '"', '\\', '\u{e9}', '\u{0}'] {
            let taken = counter.ending_with(letter).count(1).await?.taken;
            expect(&format!("{algorithm:?} admits the key that ends with {letter:?}"), 1, taken)?;
        }
        expect(&format!("{algorithm:?} admits a key again"), 0, counter.ending_with('A').count(1).await?.taken)?;
    }
    Ok(())
}

async fn shared_counter(limiters: Vec<RateLimiter>) -> Finding {
    for (algorithm, per) in kinds(10).into_iter().filter(|(algorithm, _)| !matches!(algorithm, Algorithm::Gcra { .. }))
    {
        let wide = TestCounter::new(&limiters[0], algorithm, 10, per, "shared");
        let narrow = wide.with_limit(3);
        for _ in 0..3 {
            wide.count(1).await?;
        }
        expect(&format!("the narrow rule of {algorithm:?} admits"), 0, narrow.count(1).await?.taken)?;
        expect(&format!("the wide rule of {algorithm:?} admits"), 1, wide.count(1).await?.taken)?;
    }
    Ok(())
}

async fn blocks(limiters: Vec<RateLimiter>) -> Finding {
    const SHORT: Block = Block { durations: &[2] };
    const LONG: Block = Block { durations: &[600] };
    let refused = |outcome: Outcome, what: &str| match outcome {
        Outcome { over: true, is_blocked: true, taken: 0, .. } => Ok(()),
        outcome => Err(format!("{what} answers {outcome:?}")),
    };
    let counter = TestCounter::new(&limiters[0], Algorithm::FixedWindow, 1, 1, "short").blocking(&SHORT);
    let elsewhere = counter.through(&limiters[1]);
    counter.count(1).await?;
    // The window of a second may end between the two.
    while !counter.count(1).await?.over {}
    let started = Instant::now();
    refused(elsewhere.count(1).await?, "another limiter")?;
    refused(elsewhere.peek().await?, "a look")?;
    eventually("a block ends", || async { Ok(elsewhere.count(1).await?.taken == 1) }).await?;
    if started.elapsed() < Duration::from_millis(1900) {
        return Err(format!("a block of 2 seconds ended after {:?}", started.elapsed()));
    }
    for (algorithm, per) in [(Algorithm::SlidingWindow, 1), (Algorithm::Gcra { burst: 1 }, 1)] {
        let counter = TestCounter::new(&limiters[0], algorithm, 1, per, "long").blocking(&LONG);
        while !counter.count(1).await?.over {}
        refused(counter.through(&limiters[1]).count(1).await?, "another limiter")?;
        counter.through(&limiters[1]).reset().await?;
        eventually("a reset lifts a block", || async { Ok(counter.count(1).await?.taken == 1) }).await?;
    }
    Ok(())
}

async fn places(limiters: Vec<RateLimiter>) -> Finding {
    let counter = TestCounter::new(&limiters[0], Algorithm::Concurrency, 2, 60, "places");
    let held = [counter.hit(1), counter.hit(1)];
    for hit in held {
        expect("a free place admits", 1, counter.count_hit(hit).await?.taken)?;
    }
    expect("a place is renewed, and admits", 1, counter.count_hit(held[0]).await?.taken)?;
    expect("a full counter admits", 0, counter.count(1).await?.taken)?;
    counter.release(held[0]).await;
    expect("a released place admits", 1, counter.count(1).await?.taken)?;
    expect("a full counter admits", 0, counter.count(1).await?.taken)?;
    if counter.limiter.is_in_memory() {
        // There, a place ends with its request: the process that would leave one behind takes all with it.
        return Ok(());
    }
    let short = TestCounter::new(&limiters[0], Algorithm::Concurrency, 1, 1, "place-ends");
    expect("a free place admits", 1, short.count(1).await?.taken)?;
    expect("a full counter admits", 0, short.count(1).await?.taken)?;
    eventually("a place that nobody renews ends", || async { Ok(short.count(1).await?.taken == 1) }).await
}

/// Waits until a condition holds.
async fn eventually<F: Future<Output = Result<bool, String>>>(what: &str, holds: impl Fn() -> F) -> Finding {
    let started = Instant::now();
    while started.elapsed() < VISIBLE {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("{what}: not within {VISIBLE:?}"))
}
