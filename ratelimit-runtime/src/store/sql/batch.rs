//! The operations of one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::store::{
    contract::{
        error::StoreError,
        operation::{Applied, Operation},
    },
    sql::rows::{Locked, Row},
};

/// An operation, and where its result goes.
pub(super) struct Job {
    operation: Operation,
    answer: oneshot::Sender<Result<Applied, StoreError>>,
    /// How many connections were lost under it.
    pub(super) losses: u32,
    /// The operation needs a transaction of its own, since the database refused one that it was in.
    pub(super) is_alone: bool,
    /// The operation adds to one fixed window, and no statement has failed to add it.
    pub(super) is_addition: bool,
}

/// The results of the operations of a batch, which hold once its rows are written.
pub(super) struct Results(Vec<Option<Result<Applied, StoreError>>>);

impl Job {
    pub(super) fn new(operation: Operation, answer: oneshot::Sender<Result<Applied, StoreError>>) -> Self {
        let is_addition = operation.increment(Duration::ZERO).is_some();
        Self { operation, answer, losses: 0, is_alone: false, is_addition }
    }

    /// The same, with a transaction of its own.
    pub(super) fn alone(self) -> Self {
        Self { is_alone: true, is_addition: false, ..self }
    }

    /// The same, for a transaction.
    pub(super) fn for_transaction(self) -> Self {
        Self { is_addition: false, ..self }
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The limiter has answered the check already, and nobody waits for the result.
    pub(super) fn is_late(&self) -> bool {
        self.answer.is_closed()
    }

    pub(super) fn answer(self, result: Result<Applied, StoreError>) {
        // A check that is late is answered already.
        let _ = self.answer.send(result);
    }
}

/// All keys of some operations, in ascending order.
pub(super) fn keys(jobs: &[Job]) -> Vec<String> {
    let keys: BTreeSet<&str> = jobs.iter().flat_map(|job| job.operation.keys()).collect();
    keys.into_iter().map(str::to_owned).collect()
}

/// Applies operations to the locked rows, one after the other. Returns their results and the rows to write.
pub(super) fn apply(jobs: &[Job], locked: Locked) -> (Results, Vec<Row>) {
    let Locked { now, mut values } = locked;
    let mut changed = BTreeMap::new();
    let results = jobs.iter().map(|job| {
        // A check that was answered without its result must not count.
        if job.is_late() {
            return None;
        }
        let keys: Vec<&str> = job.operation.keys().collect();
        let held: Vec<_> = keys.iter().map(|key| values.get(*key).cloned()).collect();
        let applied = job.operation.apply(now, &held);
        for write in applied.iter().flat_map(Applied::writes) {
            let Some(key) = keys.get(write.index()) else { continue };
            match write.value() {
                Some(value) => values.insert((*key).to_owned(), value.clone()),
                None => values.remove(*key),
            };
            changed.insert((*key).to_owned(), write.expires_at());
        }
        Some(applied)
    });
    let results = Results(results.collect());
    let row = |(key, expires_at): (String, u64)| {
        let value = values.get(&key).map(|value| value.as_str().to_owned());
        Row { key, value, expires_at: i64::try_from(expires_at).unwrap_or(i64::MAX) }
    };
    (results, changed.into_iter().map(row).collect())
}

/// Answers all operations with their results.
pub(super) fn answer(jobs: Vec<Job>, results: Results) {
    for (job, result) in jobs.into_iter().zip(results.0) {
        if let Some(result) = result {
            job.answer(result);
        }
    }
}

/// Answers all operations with the same error.
pub(super) fn fail(jobs: impl IntoIterator<Item = Job>, error: &StoreError) {
    jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
}
