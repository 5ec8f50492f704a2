//! One type for all stores under the contract.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc};

use crate::store::contract::{
    Store,
    error::StoreError,
    operation::{Applied, Operation},
};

/// The future of a function of a store.
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A [`Store`] whose type is not known.
pub(crate) trait ErasedStore: Send + Sync {
    fn update(&self, operation: Operation) -> StoreFuture<'_, Applied>;
    fn migrate(&self) -> StoreFuture<'_, ()>;
    fn name(&self) -> Cow<'static, str>;
}

impl<S: Store> ErasedStore for S {
    fn update(&self, operation: Operation) -> StoreFuture<'_, Applied> {
        Box::pin(Store::update(self, operation))
    }

    fn migrate(&self) -> StoreFuture<'_, ()> {
        Box::pin(Store::migrate(self))
    }

    fn name(&self) -> Cow<'static, str> {
        Store::name(self)
    }
}

/// A store, or the URL of one: the argument of [`RateLimiterBuilder::store`](crate::RateLimiterBuilder::store).
///
/// It is implemented for texts, and for each type that is a [`Store`]. It cannot be implemented otherwise.
pub trait IntoStore: Sealed {}

/// The argument of the builder.
pub enum GivenStore {
    /// A URL, which may hold a password.
    Url(String),
    #[expect(private_interfaces, reason = "the trait that shows this type cannot be named")]
    Store(Arc<dyn ErasedStore>),
}

/// Without the URL.
impl fmt::Debug for GivenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("of a URL"),
            Self::Store(store) => f.write_str(&store.name()),
        }
    }
}

/// Keeps others from implementing [`IntoStore`].
pub trait Sealed {
    /// The store or its URL.
    fn given(self) -> GivenStore;
}

impl IntoStore for &str {}
impl Sealed for &str {
    fn given(self) -> GivenStore {
        GivenStore::Url(self.to_owned())
    }
}

impl IntoStore for &String {}
impl Sealed for &String {
    fn given(self) -> GivenStore {
        GivenStore::Url(self.clone())
    }
}

impl IntoStore for String {}
impl Sealed for String {
    fn given(self) -> GivenStore {
        GivenStore::Url(self)
    }
}

impl<S: Store> IntoStore for S {}
impl<S: Store> Sealed for S {
    fn given(self) -> GivenStore {
        GivenStore::Store(Arc::new(self))
    }
}
