//! The answer of a user's function: there at once, or awaited.

use std::{fmt, future::Future, pin::Pin};

use actix_web::Error;

/// The answer of a user's function.
pub struct Answer<T>(Value<T>);

enum Value<T> {
    /// Of a plain function.
    Now(Result<T, Error>),
    /// Of a function with extractors, when they and it have run.
    Later(Pin<Box<dyn Future<Output = Result<T, Error>>>>),
}

impl<T> Answer<T> {
    pub(super) fn now(value: Result<T, Error>) -> Self {
        Self(Value::Now(value))
    }

    pub(super) fn later(value: impl Future<Output = Result<T, Error>> + 'static) -> Self {
        Self(Value::Later(Box::pin(value)))
    }

    pub(crate) async fn get(self) -> Result<T, Error> {
        match self.0 {
            Value::Now(value) => value,
            Value::Later(value) => value.await,
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
