//! The places that a request holds while it runs.

use tokio::runtime::Handle;

use crate::{
    decision::outcome::{Decided, Outcome, Unavailable},
    limiter::RateLimiter,
    rule::algorithm::Algorithm,
    store::{
        CounterKey, Hit, Hits,
        shared::{Pending, Renewal},
    },
};

/// The places of one request. Dropping releases them: after the response's body, or when the request is cancelled or panics. Nobody waits
/// for the store.
pub(crate) struct Places {
    limiter: RateLimiter,
    /// Sends the release, if the places are dropped outside of a runtime.
    runtime: Option<Handle>,
    places: Vec<Place>,
}

struct Place {
    key: CounterKey,
    hit: Hit,
    /// Renews it until this is dropped.
    _renewal: Option<Renewal>,
}

impl Place {
    /// Ends the renewals: one that comes after the release would take the place again.
    fn end(self) -> (CounterKey, Hit) {
        (self.key, self.hit)
    }
}

impl Places {
    /// The places that the outcomes of a check have taken; `None` without any.
    pub(crate) fn new(
        limiter: &RateLimiter,
        hits: &[Hit],
        keys: &[CounterKey],
        outcomes: &[Option<Outcome>],
    ) -> Option<Box<Self>> {
        let place = |((hit, key), outcome): ((&Hit, &CounterKey), &Option<Outcome>)| {
            let is_taken = outcome.is_some_and(|outcome| outcome.taken > 0);
            let is_place = is_taken && hit.terms.algorithm == Algorithm::Concurrency;
            is_place.then(|| Place { key: key.clone(), hit: *hit, _renewal: limiter.renew(key, *hit) })
        };
        let places: Vec<_> = hits.iter().zip(keys).zip(outcomes).filter_map(place).collect();
        if places.is_empty() {
            return None;
        }
        let runtime = if limiter.is_in_memory() { None } else { Handle::try_current().ok() };
        Some(Box::new(Self { limiter: limiter.clone(), runtime, places }))
    }

    /// Adds the places of a later check of the same request.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.places.append(&mut later.places);
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for (key, hit) in self.places.drain(..).map(Place::end) {
            release(&self.limiter, self.runtime.as_ref(), key, hit);
        }
    }
}

/// Releases a place in the store.
fn release(limiter: &RateLimiter, runtime: Option<&Handle>, key: CounterKey, hit: Hit) {
    if let Some(later) = limiter.clone().release(key, hit)
        && let Some(runtime) = Handle::try_current().ok().as_ref().or(runtime)
    {
        runtime.spawn(later);
    }
}

/// A check that waits for its store. If the request is cancelled meanwhile, the places that the answer brings are released.
pub(crate) struct Awaited<'a> {
    limiter: &'a RateLimiter,
    hits: &'a Hits,
    keys: &'a [CounterKey],
    /// `None`, if it has come.
    answer: Option<Pending>,
}

impl<'a> Awaited<'a> {
    pub(crate) fn new(limiter: &'a RateLimiter, hits: &'a Hits, keys: &'a [CounterKey], answer: Pending) -> Self {
        Self { limiter, hits, keys, answer: Some(answer) }
    }

    pub(crate) async fn get(mut self) -> Result<Decided, Unavailable> {
        let Self { limiter, hits, keys, .. } = self;
        let decided = match &mut self.answer {
            Some(answer) => decide(limiter, hits, keys, answer).await,
            None => Err(Unavailable),
        };
        self.answer = None;
        decided
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let has_places = self.hits.iter().any(|hit| hit.terms.algorithm == Algorithm::Concurrency);
        if let Some(mut answer) = self.answer.take()
            && has_places
            && let Ok(runtime) = Handle::try_current()
        {
            let (limiter, hits, keys) = (self.limiter.clone(), self.hits.clone(), self.keys.to_vec());
            runtime.spawn(async move {
                if let Ok(decided) = decide(&limiter, &hits, &keys, &mut answer).await {
                    drop(Places::new(&limiter, &hits, &keys, &decided));
                }
            });
        }
    }
}

/// Waits for the answer to a check. If none has come in time, the store may have given places of which nobody knows.
async fn decide(
    limiter: &RateLimiter,
    hits: &Hits,
    keys: &[CounterKey],
    answer: &mut Pending,
) -> Result<Decided, Unavailable> {
    let decided = limiter.finish(hits, answer).await;
    for (index, (hit, key)) in hits.iter().zip(keys).enumerate() {
        let outcome = decided.as_ref().ok().and_then(|decided| *decided.get(index)?);
        let is_unknown = outcome.is_none_or(|outcome| outcome.is_degraded && outcome.taken == 0);
        if is_unknown && hit.terms.algorithm == Algorithm::Concurrency {
            release(limiter, None, key.clone(), *hit);
        }
    }
    decided
}
