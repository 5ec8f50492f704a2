//! The operations that a store carries out, and their results.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::{
    decision::outcome::Outcomes,
    rule::{
        algorithm::Algorithm,
        block::BlockState,
        held::{Correction, Held, OtherAlgorithm},
        terms::{CounterState, Terms},
    },
    store::{
        Decision, Hit,
        contract::{
            error::StoreError,
            value::{LATEST, Value},
        },
        decide,
    },
};

/// One step for a [`Store`](crate::Store): to check a request, to look at counters, to refund, or to reset.
///
/// An operation knows the counters that it needs, by their [`keys`](Self::keys). [`apply`](Self::apply) takes their contents and the time,
/// and says what to write.
#[derive(Debug)]
pub struct Operation {
    kind: Kind,
    counters: SmallVec<[OperationCounter; 1]>,
    /// The keys of the counters, followed by those of the blocks.
    keys: SmallVec<[String; 1]>,
    deadline: Instant,
}

/// A counter of an operation.
#[derive(Debug)]
struct OperationCounter {
    hit: Hit,
    /// The index of its block's key.
    block: Option<usize>,
}

/// A hit with the keys of its counter and of its block.
pub(crate) struct OperationHit {
    pub(crate) hit: Hit,
    pub(crate) key: String,
    pub(crate) block_key: Option<String>,
}

/// The change that an operation makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Counts the hits of one request: all of them or none. Hits that cost nothing look at their counters.
    Count,
    Correct(Correction),
    Reset,
    /// Blocks the subjects for so many seconds, under rules that block.
    Block(u32),
    /// Writes a text, whatever the counters hold.
    #[cfg(feature = "testing")]
    Plant(&'static str),
}

/// An operation that adds to one fixed window if the tokens fit, for stores with a command of their own for that.
///
/// Returned by [`Operation::increment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Increment {
    /// The start of the window, in seconds since the Unix epoch.
    pub window_start: u64,
    /// The end of the window, in seconds since the Unix epoch. The counter means nothing any more from then on.
    pub window_end: u64,
    /// How many tokens the request takes, at least 1.
    pub tokens: u64,
    /// How many tokens the window has. The request fits if no more are taken after it.
    pub limit: u32,
}

/// The result of an operation: the counters to write, and the limiter's answer.
#[derive(Debug)]
pub struct Applied {
    writes: Vec<Write>,
    answer: Answer,
    now: Duration,
}

/// A counter to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    index: usize,
    value: Option<Value>,
    expires_at: u64,
}

/// The next contents of a counter, which may be nothing; `None` if the counter stays as it is.
type Next = Option<Option<Held>>;

/// The limiter's part of a result.
#[derive(Debug)]
pub(crate) enum Answer {
    Decided(Outcomes),
    /// How many tokens were taken or removed.
    Done(u64),
}

impl Operation {
    pub(crate) fn new(kind: Kind, hits: impl IntoIterator<Item = OperationHit>, deadline: Instant) -> Self {
        let (mut counters, mut keys, mut block_keys) = (SmallVec::new(), SmallVec::new(), Vec::new());
        for OperationHit { hit, key, block_key } in hits {
            keys.push(key);
            // A correction changes the counter, not its block.
            let block_key = block_key.filter(|_| !matches!(kind, Kind::Correct(_)));
            counters.push(OperationCounter { hit, block: block_key.as_ref().map(|_| block_keys.len()) });
            block_keys.extend(block_key);
        }
        for counter in &mut counters {
            let OperationCounter { block, .. } = counter;
            *block = block.map(|index| keys.len() + index);
        }
        keys.extend(block_keys);
        Self { kind, counters, keys, deadline }
    }

    /// The keys of the counters, no two of them the same. Each has from 1 to 250 bytes, all of them printable ASCII without blanks, so that any
    /// store can use them as they are.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.keys.iter().map(String::as_str)
    }

    /// The time at which the limiter gives up: it then drops the store's future.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Computes the result for counters that hold `held` at the time `now`. It changes nothing: the store writes
    /// [`Applied::writes`].
    ///
    /// `now` is the time since the Unix epoch, by one clock for all processes that share the store. `held` has the contents of the counter of
    /// each key, in the order of [`keys`](Self::keys); `None` for a counter that is not there. It does not matter whether the store has
    /// removed counters that have expired. An operation may be applied several times, for instance after a conflict.
    ///
    /// # Errors
    /// [`StoreError`], if a value is none that a limiter has written. It concerns this check alone, and the store passes it on.
    pub fn apply(&self, now: Duration, held: &[Option<Value>]) -> Result<Applied, StoreError> {
        // Sums with times cannot overflow.
        let now = now.min(Duration::from_secs(LATEST / 2));
        let (writes, answer) = match self.kind {
            Kind::Count => self.count(held, now)?,
            Kind::Correct(correction) => {
                let (next, answer) = self.correct(self.read(held)?, correction, now)?;
                (self.writes(next), answer)
            }
            // A reset removes a counter whatever it holds.
            Kind::Reset => {
                let there = held.iter().enumerate().filter(|(_, held)| held.is_some());
                let writes: Vec<Write> = there.map(|(index, _)| Write { index, value: None, expires_at: 0 }).collect();
                let removed = writes.len() as u64;
                (writes, Answer::Done(removed))
            }
            #[cfg(feature = "testing")]
            Kind::Plant(text) => {
                let value = Value::from_bytes(text.as_bytes());
                let write = |index| Write { index, value: Some(value.clone()), expires_at: now.as_secs() + 60 };
                ((0..self.counters.len()).map(write).collect(), Answer::Done(0))
            }
            Kind::Block(seconds) => {
                let mut writes = Vec::new();
                for counter in &self.counters {
                    if let Some(block) = counter.hit.block {
                        let before = self.read_block(counter, held)?;
                        writes.extend(counter.write_block(block.by_hand(before, seconds, now)));
                    }
                }
                (writes, Answer::Done(0))
            }
        };
        Ok(Applied { writes, answer, now })
    }

    fn writes(&self, next: Vec<Next>) -> Vec<Write> {
        let write = |((index, counter), next): ((usize, &OperationCounter), Next)| {
            let next = next?;
            let expires_at = next.as_ref().map_or(0, |held| held.expires(&counter.hit.terms));
            Some(Write { index, value: next.as_ref().map(Value::new), expires_at })
        };
        self.counters.iter().enumerate().zip(next).filter_map(write).collect()
    }

    /// The operation as an addition to one fixed window, if it checks a request under one such rule and does nothing else.
    ///
    /// It is for a store with one command that adds, and creates with an expiry. The store adds the tokens. If more than
    /// [`Increment::limit`] are taken afterwards, it takes them back. Then it calls
    /// [`apply`](Self::apply) with [`Value::window`] of what the counter held before, and has nothing to write. Other operations on such
    /// counters read and write them as [`Value::as_window`] says.
    #[must_use]
    pub fn increment(&self, now: Duration) -> Option<Increment> {
        let (Kind::Count, [OperationCounter { hit: Hit { terms, .. }, block: None }]) = (self.kind, &self.counters[..])
        else {
            return None;
        };
        let is_addition = terms.algorithm == Algorithm::FixedWindow && terms.cost > 0;
        let window_end = terms.window_end(now.as_secs());
        is_addition.then(|| Increment {
            window_start: window_end.saturating_sub(terms.limit.per.into()),
            window_end,
            tokens: terms.cost,
            limit: terms.limit.limit,
        })
    }

    /// The end of the fixed window in which the counter with this index is now, in seconds since the Unix epoch; `None` for counters of
    /// other algorithms.
    #[must_use]
    pub fn window_end(&self, index: usize, now: Duration) -> Option<u64> {
        let terms = &self.counters.get(index)?.hit.terms;
        (terms.algorithm == Algorithm::FixedWindow).then(|| terms.window_end(now.as_secs()))
    }

    /// The operation that refunds what this one took from one of its counters.
    #[cfg(feature = "memcached")]
    pub(crate) fn refund(&self, applied: &Applied, index: usize) -> Option<Self> {
        let (counter, Answer::Decided(outcomes)) = (self.counters.get(index)?, &applied.answer) else { return None };
        let outcome = outcomes.get(index)?;
        let refund = Correction::Refund { window_end: outcome.window_end, tokens: outcome.taken };
        let hit = OperationHit { hit: counter.hit, key: self.keys.get(index)?.clone(), block_key: None };
        (outcome.taken > 0).then(|| Self::new(Kind::Correct(refund), [hit], self.deadline))
    }

    fn read(&self, held: &[Option<Value>]) -> Result<Vec<Option<Held>>, StoreError> {
        let read = |index: usize| match held.get(index) {
            Some(Some(value)) => value.read().map(Some).ok_or_else(|| self.foreign_value(index)),
            _ => Ok(None),
        };
        (0..self.counters.len()).map(read).collect()
    }

    fn read_block(&self, counter: &OperationCounter, held: &[Option<Value>]) -> Result<Option<BlockState>, StoreError> {
        match counter.block.and_then(|index| Some((index, held.get(index)?.as_ref()?))) {
            Some((index, value)) => value.read_block().map(Some).ok_or_else(|| self.foreign_value(index)),
            None => Ok(None),
        }
    }

    fn foreign_value(&self, index: usize) -> StoreError {
        StoreError::foreign_value(self.keys.get(index).map_or("", String::as_str))
    }

    fn count(&self, values: &[Option<Value>], now: Duration) -> Result<(Vec<Write>, Answer), StoreError> {
        let held = self.read(values)?;
        let (mut found, mut blocks) = (SmallVec::<[CounterState; 1]>::new(), Vec::new());
        for (index, (counter, held)) in self.counters.iter().zip(&held).enumerate() {
            let OperationCounter { hit, .. } = counter;
            let state = hit.terms.look(held.as_ref(), hit.place, now);
            let block = self.read_block(counter, values)?;
            found.push(hit.unless_blocked(state.map_err(|OtherAlgorithm| self.foreign_value(index))?, block, now));
            blocks.push(block);
        }
        let Decision { mut outcomes, .. } = decide(self.counters.iter().map(|counter| &counter.hit), &found, now);
        let next =
            self.counters.iter().zip(held).zip(&outcomes).map(|((OperationCounter { hit, .. }, held), outcome)| {
                (outcome.taken > 0).then(|| hit.terms.count(held, hit.place, outcome.taken, now))
            });
        let mut writes = self.writes(next.collect());
        for (((counter, found), block), outcome) in self.counters.iter().zip(&found).zip(blocks).zip(&mut outcomes) {
            let next = counter.hit.block(*found, block, outcome, now);
            writes.extend(next.and_then(|next| counter.write_block(next)));
        }
        Ok((writes, Answer::Decided(outcomes)))
    }

    fn correct(
        &self,
        held: Vec<Option<Held>>,
        correction: Correction,
        now: Duration,
    ) -> Result<(Vec<Next>, Answer), StoreError> {
        let (mut next, mut done) = (Vec::new(), 0);
        for (index, (OperationCounter { hit, .. }, held)) in self.counters.iter().zip(held).enumerate() {
            let terms: &Terms = &hit.terms;
            let corrected = terms.correct(held, correction, now);
            let corrected = corrected.map_err(|OtherAlgorithm| self.foreign_value(index))?;
            done += corrected.as_ref().map_or(0, |(_, taken)| *taken);
            next.push(corrected.map(|(next, _)| next));
        }
        Ok((next, Answer::Done(done)))
    }
}

impl OperationCounter {
    fn write_block(&self, state: BlockState) -> Option<Write> {
        let (index, block) = self.block.zip(self.hit.block)?;
        Some(Write { index, value: Some(Value::of_block(state)), expires_at: block.kept_until(state) })
    }
}

impl Applied {
    /// The counters to write, all or none of them. The others stay as they are.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The time for which the operation was applied.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn into_answer(self) -> Answer {
        self.answer
    }
}

impl Write {
    /// The index of the counter among the [`keys`](Operation::keys).
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The contents to keep; `None` to remove the counter.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// Until when the counter must be kept, in seconds since the Unix epoch by the clock that [`apply`](Operation::apply) was given. It may be
    /// kept for longer. 0 for a counter to remove.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }
}
