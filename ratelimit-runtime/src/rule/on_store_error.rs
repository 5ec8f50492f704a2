//! What to do with a request when the store fails.

/// The answer to a request when the store fails or does not answer within the deadline.
///
/// Set for a whole limiter with [`RateLimiterBuilder::on_store_error`](crate::RateLimiterBuilder::on_store_error),
/// and for one rule with `on_store_error = "…"` in the attribute.
///
/// ```
/// use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let limiter = RateLimiter::builder().on_store_error(OnStoreError::Allow).store("redis://127.0.0.1/").build()?;
/// # drop(limiter);
///
/// #[ratelimit("5/minute", on_store_error = "deny")]
/// async fn login() -> &'static str {
///     "not while nobody counts"
/// }
/// # let _ = login;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStoreError {
    /// Count in this process's memory until the store is back, from what the process has seen of each counter. Every process then
    /// admits up to `limit` by itself.
    #[default]
    Local,
    /// Admit the request without counting it.
    Allow,
    /// Answer `503 Service Unavailable` with `Retry-After`.
    Deny,
}

impl OnStoreError {
    /// The same, where no request is refused.
    pub(crate) fn admitting(self) -> Self {
        match self {
            Self::Deny => Self::Allow,
            admitting => admitting,
        }
    }
}
