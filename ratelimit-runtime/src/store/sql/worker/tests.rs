//! Which operations go together.

use tokio::sync::oneshot::Receiver;

use super::*;
use crate::{
    rule::{algorithm::Algorithm, limit::Limit, terms::Terms},
    store::{
        Hit,
        contract::operation::{Applied, Kind, Operation, OperationHit},
        sql::rows::{Locked, Row},
    },
};

/// A database that is not asked.
#[derive(Clone)]
struct Unasked;

impl Database for Unasked {
    type Connection = ();

    fn name(&self) -> String {
        String::new()
    }

    async fn connect(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn lock(&self, (): &mut (), _: &[String], _: Duration) -> Result<Locked, Failure> {
        Ok(Locked::default())
    }

    async fn commit(&self, (): &mut (), _: &[Row]) -> Result<(), Failure> {
        Ok(())
    }

    async fn roll_back(&self, (): &mut ()) -> Result<(), Failure> {
        Ok(())
    }

    async fn delete_expired(&self, (): &mut (), _: u32) -> Result<u64, Failure> {
        Ok(0)
    }

    async fn migrate(&self, (): &mut ()) -> Result<(), Failure> {
        Ok(())
    }
}

/// A check of these counters, and where its result goes.
fn job(keys: &[&str]) -> (Job, Receiver<Result<Applied, StoreError>>) {
    let limit = Limit { limit: 5, per: 60 };
    let terms = Terms { limit, algorithm: Algorithm::FixedWindow, phase: 0, cost: 1 };
    let hit = Hit { hash: 0, terms, refuses: true, lease: 1, on_store_error: None, place: 0, block: None };
    let hits = keys.iter().map(|key| OperationHit { hit, key: (*key).to_owned(), block_key: None });
    let (answer, result) = oneshot::channel();
    (Job::new(Operation::new(Kind::Count, hits, Instant::now()), answer), result)
}

fn keys_of(jobs: &[Job]) -> Vec<Vec<&str>> {
    jobs.iter().map(|job| job.operation().keys().collect()).collect()
}

#[test]
fn an_operation_that_has_to_wait_is_not_overtaken_at_its_counters() {
    let mut state = State::new(Worker::new(Unasked, 1));
    state.busy.insert("b".to_owned());
    let (jobs, _results): (Vec<_>, Vec<_>) =
        [&["a", "b"][..], &["a"], &["c", "d"], &["c"]].into_iter().map(job).unzip();
    // As over a database without additions: otherwise a transaction and an addition do not go together.
    state.waiting = jobs.into_iter().map(Job::for_transaction).collect();
    assert_eq!(keys_of(&state.next_batch()), [vec!["c", "d"], vec!["c"]]);
    assert_eq!(keys_of(state.waiting.make_contiguous()), [vec!["a", "b"], vec!["a"]]);
    assert!(state.next_batch().is_empty());
    state.busy.clear();
    assert_eq!(keys_of(&state.next_batch()), [vec!["a", "b"], vec!["a"]]);
}

#[test]
fn more_operations_than_may_wait_fail_at_once() {
    let mut state = State::new(Worker::new(Unasked, 1));
    let (jobs, mut results): (Vec<_>, Vec<_>) = (0..=LONGEST_QUEUE).map(|_| job(&["a"])).unzip();
    jobs.into_iter().for_each(|job| state.take(Message::Update(job)));
    assert_eq!(state.waiting.len(), LONGEST_QUEUE);
    let last = results.pop().map(|mut result| result.try_recv());
    assert!(matches!(last, Some(Ok(Err(_)))), "{last:?}");
}
