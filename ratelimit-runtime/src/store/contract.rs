//! The public contract of stores: a store keeps values, and operations change them.

pub(crate) mod erased;
pub(crate) mod error;
pub(crate) mod operation;
pub(crate) mod value;

use std::{borrow::Cow, future::Future, sync::Arc};

use crate::store::contract::{
    error::StoreError,
    operation::{Applied, Operation},
};

/// A store of counters of one's own: it keeps a short text for each counter.
///
/// All arithmetic is the limiter's. A store reads the counters of an [`Operation`], asks [`Operation::apply`] what to write, and writes
/// that, as one step. [`guide::stores`](crate::guide::stores) has a complete one, and what a store must hold to.
///
/// ```
/// use std::{collections::HashMap, sync::{Mutex, PoisonError}, time::SystemTime};
/// use ratelimit_runtime::{Applied, Operation, RateLimiter, Store, StoreError, Value};
///
/// #[derive(Default)]
/// struct Map(Mutex<HashMap<String, Value>>);
///
/// impl Store for Map {
///     async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
///         let now = SystemTime::UNIX_EPOCH.elapsed().map_err(StoreError::of_store)?;
///         let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let keys: Vec<&str> = operation.keys().collect();
///         let held: Vec<Option<Value>> = keys.iter().map(|key| counters.get(*key).cloned()).collect();
///         let applied = operation.apply(now, &held)?;
///         for write in applied.writes() {
///             match write.value() {
///                 Some(value) => counters.insert(keys[write.index()].to_owned(), value.clone()),
///                 None => counters.remove(keys[write.index()]),
///             };
///         }
///         Ok(applied)
///     }
/// }
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let limiter = RateLimiter::builder().store(Map::default()).build()?;
/// # drop(limiter);
/// # Ok(())
/// # }
/// ```
pub trait Store: Send + Sync + 'static {
    /// Carries out an operation as one step: reads the counters, applies the operation to them, writes what follows, and returns that.
    ///
    /// No other operation may come between reading and writing. If it fails, nothing may be written, or what was written must be taken
    /// back. The future runs in a task of its own on the runtime of the check, and is dropped at
    /// [`Operation::deadline`]; a client that goes away does not stop it.
    ///
    /// # Errors
    /// A [`StoreError`], which the log shows and `on_store_error` answers.
    fn update(&self, operation: Operation) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// Prepares the database, for [`RateLimiter::migrate`](crate::RateLimiter::migrate): creates tables, for instance. What is there already must
    /// stay. It does nothing unless given.
    ///
    /// # Errors
    /// A [`StoreError`], which says what is missing.
    fn migrate(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// The name of the store in the log, without secrets; the type's name unless given.
    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(std::any::type_name::<Self>())
    }
}

/// Several limiters may share a store.
impl<S: Store> Store for Arc<S> {
    fn update(&self, operation: Operation) -> impl Future<Output = Result<Applied, StoreError>> + Send {
        S::update(self, operation)
    }

    fn migrate(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::migrate(self)
    }

    fn name(&self) -> Cow<'static, str> {
        S::name(self)
    }
}
