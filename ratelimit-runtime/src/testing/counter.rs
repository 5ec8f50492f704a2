//! One counter of a store, as the suite uses it.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::{
    counter::{BaseHash, BaseName, Counter, Name, SubjectPart, key_part::KeyPart},
    decision::outcome::Outcome,
    limiter::{LimiterStep, RateLimiter},
    rule::{
        algorithm::Algorithm, block::Block, charge::Charged, limit::Limit, on_store_error::OnStoreError, terms::Terms,
    },
    store::{Hit, Hits, new_place},
};

/// The result of a case: the error says what is wrong.
pub(super) type Finding = Result<(), String>;

/// A counter under a rule.
#[derive(Clone)]
pub(super) struct TestCounter {
    pub(super) limiter: RateLimiter,
    pub(super) terms: Terms,
    block: Option<&'static Block>,
    key: KeyPart,
}

impl TestCounter {
    /// A new counter, whose key ends with `name`.
    pub(super) fn new(limiter: &RateLimiter, algorithm: Algorithm, limit: u32, per: u32, name: &str) -> Self {
        // Names of places are as random as keys have to be.
        let key = KeyPart::new(format_args!("contract-{:x}-{name}", new_place()));
        let terms = Terms { limit: Limit { limit, per }, algorithm, phase: 0, cost: 1 };
        Self { limiter: limiter.clone(), terms, block: None, key }
    }

    /// The same counter under a rule that blocks.
    pub(super) fn blocking(self, block: &'static Block) -> Self {
        Self { block: Some(block), ..self }
    }

    /// The same counter through another limiter.
    pub(super) fn through(&self, limiter: &RateLimiter) -> Self {
        Self { limiter: limiter.clone(), ..self.clone() }
    }

    /// The same counter under a rule with another limit.
    pub(super) fn with_limit(&self, limit: u32) -> Self {
        let terms = Terms { limit: Limit { limit, ..self.terms.limit }, ..self.terms };
        Self { terms, ..self.clone() }
    }

    /// A counter whose key differs from this one's in its last letter alone.
    pub(super) fn ending_with(&self, letter: char) -> Self {
        let mut text = self.key.as_str().to_owned();
        text.pop();
        text.push(letter);
        Self { key: KeyPart::new(text), ..self.clone() }
    }

    fn counter(&self) -> Counter<'_> {
        let name = Name::Given(&self.key);
        let kind = self.terms.algorithm.kind(false);
        let base = BaseName { key: name, per: self.terms.limit.per, kind, ordinal: 0 };
        Counter { base_hash: BaseHash::new(kind.len() as u64), base, scope: smallvec![SubjectPart::Global] }
    }

    /// A hit on it. A store that fails is an error.
    pub(super) fn hit(&self, cost: u64) -> Hit {
        Hit {
            hash: self.counter().hash(),
            terms: Terms { cost, ..self.terms },
            refuses: true,
            lease: 1,
            on_store_error: Some(OnStoreError::Deny),
            place: if self.terms.algorithm == Algorithm::Concurrency { new_place() } else { 0 },
            block: self.block,
        }
    }

    /// Checks a request of this cost.
    pub(super) async fn count(&self, cost: u64) -> Result<Outcome, String> {
        self.count_hit(self.hit(cost)).await
    }

    pub(super) async fn count_hit(&self, hit: Hit) -> Result<Outcome, String> {
        let outcomes = count_all(&[(self, hit)]).await?;
        outcomes.first().copied().ok_or_else(|| "a check has no outcome".to_owned())
    }

    /// Looks at it.
    pub(super) async fn peek(&self) -> Result<Outcome, String> {
        let keys = vec![self.limiter.key(&self.counter())];
        let hits: Hits = smallvec![self.hit(0)];
        let outcomes = self.limiter.read(&hits, keys).await.map_err(|_| failed("look"))?;
        outcomes.first().copied().ok_or_else(|| "a look has no outcome".to_owned())
    }

    /// Replaces a charge, and returns what is charged then.
    pub(super) async fn settle(&self, charged: Charged, actual: u64) -> Charged {
        let (key, hit) = (self.limiter.key(&self.counter()), self.hit(1));
        self.limiter.settle_in_store(key, &hit, charged, actual).await
    }

    /// Writes a text in place of its value, and says whether the store takes one.
    pub(super) async fn plant(&self, text: &'static str) -> Result<bool, String> {
        match self.limiter.plant(&self.limiter.key(&self.counter()), self.hit(0), text).await {
            Some(planted) => planted.map(|()| true).map_err(|_| failed("write")),
            None => Ok(false),
        }
    }

    pub(super) async fn reset(&self) -> Result<(), String> {
        let keys = vec![self.limiter.key(&self.counter())];
        self.limiter.clear(&smallvec![self.hit(0)], keys).await.map_err(|_| failed("reset"))
    }

    /// Releases the place of a hit.
    pub(super) async fn release(&self, hit: Hit) {
        if let Some(release) = self.limiter.clone().release(self.limiter.key(&self.counter()), hit) {
            release.await;
        }
    }

    /// The time by the store's clock.
    pub(super) fn now(&self) -> Duration {
        self.limiter.now()
    }

    /// Waits until the window that ends at `window_end` is over.
    pub(super) async fn wait_for_end(&self, window_end: u64) -> Result<(), String> {
        const MOST_TRIES: usize = 200;
        for _ in 0..MOST_TRIES {
            let outcome = self.count(0).await?;
            if outcome.window_end > window_end {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("the window that ends at {window_end} is not over after 10 seconds"))
    }
}

/// Checks a request under several rules.
pub(super) async fn count_all(rules: &[(&TestCounter, Hit)]) -> Result<SmallVec<[Outcome; 2]>, String> {
    let Some((first, _)) = rules.first() else { return Ok(SmallVec::new()) };
    let hits: Hits = rules.iter().map(|(_, hit)| *hit).collect();
    let counters: SmallVec<[Counter<'_>; 2]> = rules.iter().map(|(counter, _)| counter.counter()).collect();
    let decided = match first.limiter.begin(&hits, &counters) {
        LimiterStep::Done(decided) => decided,
        LimiterStep::Pending(mut answer) => first.limiter.finish(&hits, &mut answer).await,
    };
    let decided = decided.map_err(|_| failed("check"))?;
    decided.into_iter().map(|outcome| outcome.ok_or_else(|| failed("check"))).collect()
}

fn failed(what: &str) -> String {
    format!("the store failed a {what}; the log says why")
}
