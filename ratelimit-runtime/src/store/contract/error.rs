//! The errors of stores.

use std::{error, fmt};

/// An operation failed: because of the whole store, or because of this check alone.
///
/// The log shows the text once when a failure starts and once a minute while it lasts, on one line. It must hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    concern: Concern,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    Store,
    Check,
}

impl StoreError {
    /// The store is down or out of reach: others fail, too. After several in a row, checks are not sent for a moment.
    #[must_use]
    pub fn of_store(reason: impl fmt::Display) -> Self {
        Self { concern: Concern::Store, reason: reason.to_string() }
    }

    /// The store works, and this check failed.
    #[must_use]
    pub fn of_check(reason: impl fmt::Display) -> Self {
        Self { concern: Concern::Check, reason: reason.to_string() }
    }

    /// Whether it concerns the whole store.
    #[must_use]
    pub fn is_of_store(&self) -> bool {
        self.concern == Concern::Store
    }

    /// The counter holds something that no limiter has written.
    pub(crate) fn foreign_value(key: &str) -> Self {
        Self::of_check(format_args!(
            "the counter `{key}` holds a value that no rate limiter has written: delete it, or choose another prefix"
        ))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl error::Error for StoreError {}
