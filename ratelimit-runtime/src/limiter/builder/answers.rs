//! The settings of how a limiter answers requests that it does not admit.

use crate::{
    limiter::builder::RateLimiterBuilder,
    rule::function::{
        held,
        traits::{OverLimitFunction, UnavailableFunction},
    },
};

impl RateLimiterBuilder {
    /// The answer to every request over a limit, in place of the 429 with a problem: a plain function of `&HttpRequest` and
    /// `&RateLimitState`, or one written like an Actix handler, with extractors. A rule's own `over_limit` goes before this.
    ///
    /// It holds for handlers under `#[ratelimit]` and for [`RateLimit`](crate::RateLimit). Who calls
    /// [`check`](crate::RateLimiter::check) answers by themselves, and
    /// [`RateLimitState::to_response`](crate::RateLimitState::to_response) stays the default.
    ///
    /// The status is the function's. A 429 gets `Retry-After`, in seconds, and `Cache-Control: no-store`, unless it has them. The rate
    /// limit headers are written as ever.
    ///
    /// ```
    /// use actix_web::{HttpRequest, HttpResponse};
    /// use ratelimit_runtime::{RateLimitState, RateLimiter};
    ///
    /// fn slow_down(_: &HttpRequest, state: &RateLimitState) -> HttpResponse {
    ///     let body = format!(r#"{{"error":"slow down","seconds":{}}}"#, state.retry_after().unwrap_or(1));
    ///     HttpResponse::TooManyRequests().content_type("application/json").body(body)
    /// }
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder().over_limit(slow_down).build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn over_limit<F, Marker>(mut self, function: F) -> Self
    where
        F: OverLimitFunction<Marker> + Send + Sync + 'static,
    {
        self.answers.over_limit = Some(Box::new(held::respond(function)));
        self
    }

    /// The answer to every request that cannot be checked because the store fails, under
    /// [`OnStoreError::Deny`](crate::OnStoreError::Deny), in place of the 503 with a problem: a plain function of `&HttpRequest`, or one
    /// written like an Actix handler, with extractors. There is no [`RateLimitState`](crate::RateLimitState) of such a request.
    ///
    /// It holds for handlers under `#[ratelimit]` and for [`RateLimit`](crate::RateLimit). The status is the function's. A 503 gets
    /// `Retry-After: 1` and `Cache-Control: no-store`, unless it has them.
    ///
    /// ```
    /// use actix_web::{HttpRequest, HttpResponse};
    /// use ratelimit_runtime::{OnStoreError, RateLimiter};
    ///
    /// fn not_now(_: &HttpRequest) -> HttpResponse {
    ///     HttpResponse::ServiceUnavailable().content_type("application/json").body(r#"{"error":"not now"}"#)
    /// }
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder()
    ///     .on_store_error(OnStoreError::Deny)
    ///     .unavailable(not_now)
    ///     .store("redis://127.0.0.1/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unavailable<F, Marker>(mut self, function: F) -> Self
    where
        F: UnavailableFunction<Marker> + Send + Sync + 'static,
    {
        self.answers.unavailable = Some(Box::new(held::unavailable(function)));
        self
    }
}
