//! Random histories of one counter, compared with the model.

use std::time::{Duration, Instant};

use crate::{
    limiter::RateLimiter,
    rule::{algorithm::Algorithm, charge::Charged},
    store::{Hit, SPLITMIX, new_place, splitmix},
    testing::{
        counter::{Finding, TestCounter},
        model::{Model, TOLERANCE},
    },
};

/// How many steps a history has.
const STEPS: usize = 120;

/// A limiter with a cache may refuse for so long after a refund or a reset.
const STALE: Duration = Duration::from_millis(1100);

/// Pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(SPLITMIX);
        splitmix(self.0) % bound
    }
}

/// Runs a history through several limiters in turn.
pub(super) async fn run(limiters: Vec<RateLimiter>, algorithm: Algorithm) -> Finding {
    let seed = new_place();
    let (limit, per) = match algorithm {
        Algorithm::FixedWindow => (10, 1),
        Algorithm::SlidingWindow => (10, 2),
        Algorithm::Gcra { .. } => (10, 4),
        Algorithm::Concurrency => (4, 60),
    };
    let algorithm = if let Algorithm::Gcra { .. } = algorithm { Algorithm::Gcra { burst: limit } } else { algorithm };
    let counters: Vec<TestCounter> = {
        let first = TestCounter::new(&limiters[0], algorithm, limit, per, "history");
        limiters.iter().map(|limiter| first.through(limiter)).collect()
    };
    // The first answer shows the store's clock.
    counters[0].peek().await?;
    let mut history = History {
        random: Random(seed),
        model: Model::new(&counters[0]),
        counters,
        charges: Vec::new(),
        changed: None,
        log: Vec::new(),
    };
    for _ in 0..STEPS {
        if let Err(reason) = history.step().await {
            let steps = history.log.join(", ");
            return Err(format!("{algorithm:?}, seed {seed}: {reason}; the steps were {steps}"));
        }
    }
    Ok(())
}

struct History {
    random: Random,
    model: Model,
    counters: Vec<TestCounter>,
    /// The charges that may still change.
    charges: Vec<(Hit, Charged)>,
    /// When a charge was last refunded, or the counter reset.
    changed: Option<Instant>,
    log: Vec<String>,
}

impl History {
    async fn step(&mut self) -> Finding {
        let counter = self.counters[self.random.below(self.counters.len() as u64) as usize].clone();
        let is_concurrency = counter.terms.algorithm == Algorithm::Concurrency;
        match self.random.below(20) {
            0 => self.reset(&counter).await?,
            1..=2 => {
                let pause = Duration::from_millis(self.random.below(300));
                self.log.push(format!("wait {pause:?}"));
                tokio::time::sleep(pause).await;
            }
            3..=6 if !self.charges.is_empty() => {
                let charge = self.random.below(self.charges.len() as u64) as usize;
                let (hit, charged) = self.charges.swap_remove(charge);
                self.lessen(&counter, hit, charged).await;
            }
            7..=8 => self.count(&counter, 0).await?,
            _ => {
                let cost = if is_concurrency { 1 } else { 1 + self.random.below(4) };
                self.count(&counter, cost).await?;
            }
        }
        Ok(())
    }

    async fn count(&mut self, counter: &TestCounter, cost: u64) -> Finding {
        self.log.push(format!("count {cost}"));
        let (hit, before) = (counter.hit(cost), counter.now());
        let outcome = counter.count_hit(hit).await?;
        let is_stale = self.changed.is_some_and(|changed| changed.elapsed() < STALE);
        if outcome.over && is_stale && counter.limiter.has_cache() {
            return Ok(());
        }
        self.model.check(cost, hit.place, &outcome, [before, counter.now()])?;
        if outcome.taken > 0 {
            self.charges.push((hit, Charged::of(&outcome)));
        }
        Ok(())
    }

    /// Refunds a charge or a part of it, or releases a place.
    async fn lessen(&mut self, counter: &TestCounter, hit: Hit, charged: Charged) {
        let kept = self.random.below(charged.tokens + 1);
        self.changed = Some(Instant::now());
        self.log.push(format!("keep {kept} of {}", charged.tokens));
        if counter.terms.algorithm == Algorithm::Concurrency {
            counter.release(hit).await;
            self.model.change(hit.place, 0, 1);
        } else if kept < charged.tokens && !self.is_nearly_back(counter, charged) {
            counter.settle(charged, kept).await;
            self.model.change(charged.window_end, kept, charged.tokens);
        }
    }

    async fn reset(&mut self, counter: &TestCounter) -> Finding {
        self.log.push("reset".to_owned());
        counter.reset().await?;
        self.model.reset();
        // A later refund would be taken from the new count.
        self.charges.clear();
        self.changed = Some(Instant::now());
        Ok(())
    }

    /// Whether the tokens of a charge have come back by themselves, or may have before a refund arrives.
    fn is_nearly_back(&self, counter: &TestCounter, charged: Charged) -> bool {
        let is_bucket = matches!(counter.terms.algorithm, Algorithm::Gcra { .. });
        is_bucket && counter.now() + 4 * TOLERANCE > Duration::from_nanos(charged.window_end)
    }
}
