//! A contract suite for stores (cargo feature `testing`, for `[dev-dependencies]`).
//!
//! A test of your own [`Store`](crate::Store) runs the suite against the real database:
//!
//! ```
//! # mod map {
//! #     use std::{collections::HashMap, sync::{Mutex, PoisonError}, time::SystemTime};
//! #     use ratelimit_runtime::{Applied, Operation, Store, StoreError, Value};
//! #     #[derive(Default)]
//! #     pub struct MyStore(Mutex<HashMap<String, Value>>);
//! #     impl Store for MyStore {
//! #         async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
//! #             let now = SystemTime::UNIX_EPOCH.elapsed().map_err(StoreError::of_store)?;
//! #             let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//! #             let keys: Vec<&str> = operation.keys().collect();
//! #             let held: Vec<Option<Value>> = keys.iter().map(|key| counters.get(*key).cloned()).collect();
//! #             let applied = operation.apply(now, &held)?;
//! #             for write in applied.writes() {
//! #                 match write.value() {
//! #                     Some(value) => counters.insert(keys[write.index()].to_owned(), value.clone()),
//! #                     None => counters.remove(keys[write.index()]),
//! #                 };
//! #             }
//! #             Ok(applied)
//! #         }
//! #     }
//! # }
//! # use map::MyStore;
//! use std::{sync::Arc, time::Duration};
//! use ratelimit_runtime::{RateLimiter, testing};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(MyStore::default());
//! let limiter = || RateLimiter::builder().store(Arc::clone(&store)).deadline(Duration::from_secs(10)).build();
//! let runtime = actix_web::rt::Runtime::new()?;
//! runtime.block_on(testing::store_contract(limiter))?;
//! # Ok(())
//! # }
//! ```

mod cases;
mod counter;
mod history;
mod model;

use std::fmt;

use tokio::task::JoinSet;

use crate::{error::Error, limiter::RateLimiter};

/// A store does not keep the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {reason}")]
#[non_exhaustive]
pub struct ContractError {
    /// The part of the contract, such as `a refund reaches the window in which the tokens were taken`.
    pub case: &'static str,
    /// The result, and the expected one.
    pub reason: String,
}

/// Checks that a store keeps the contract of counting: it is exact under concurrent requests and at the edges of windows, counts several
/// rules all or none, refunds into the right window, forgets what has expired, resets, and holds places, for every algorithm. Random
/// histories are compared with a simple model.
///
/// `limiter` makes limiters that share the store, like those of several processes. Their deadline is long, because the suite waits for
/// no failure. The suite takes about ten seconds and counts under keys of its own, which are new in each run.
///
/// It needs a Tokio runtime with time; on one with several threads, requests meet as in a server.
///
/// # Errors
/// The first [`ContractError`]. Its reason has the numbers from which random cases were made, so that they can be told apart.
pub async fn store_contract(limiter: impl Fn() -> Result<RateLimiter, Error>) -> Result<(), ContractError> {
    let made = |error: &dyn fmt::Display| ContractError { case: "the limiter is made", reason: error.to_string() };
    let limiters = [(); 3].map(|()| limiter());
    let limiters: Vec<RateLimiter> = limiters.into_iter().collect::<Result<_, _>>().map_err(|error| made(&error))?;
    let mut running = JoinSet::new();
    for (case, run) in cases::all() {
        let run = run(limiters.clone());
        running.spawn(async move { run.await.map_err(|reason| ContractError { case, reason }) });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or_else(|error| Err(made(&error)))?;
    }
    Ok(())
}
