//! A store of an application's own: a map.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use ratelimit_runtime::{Applied, Operation, Store, StoreError, Value};

/// Keeps counters in a map.
#[derive(Default)]
pub struct MapStore(Mutex<HashMap<String, Value>>);

impl MapStore {
    /// The counters.
    pub fn counters(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MapStore {
    async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().map_err(StoreError::of_store)?;
        let mut counters = self.counters();
        let keys: Vec<&str> = operation.keys().collect();
        let held: Vec<Option<Value>> = keys.iter().map(|key| counters.get(*key).cloned()).collect();
        let applied = operation.apply(now, &held)?;
        for write in applied.writes() {
            match write.value() {
                Some(value) => counters.insert(keys[write.index()].to_owned(), value.clone()),
                None => counters.remove(keys[write.index()]),
            };
        }
        Ok(applied)
    }
}
