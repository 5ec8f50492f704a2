//! What the functions may be that users name in an attribute.
//!
//! A function is either plain, `fn(&HttpRequest) -> T`, or written like any Actix handler: `async`, with
//! extractors as its arguments. The `Marker` parameter of each trait tells the two apart, and is inferred.

use actix_web::{HttpRequest, HttpResponse};

use crate::{
    counter::key_part::KeyPart,
    decision::state::RateLimitState,
    rule::{
        function::{
            answer::Answer,
            sealed::{OfResponse, Sealed},
        },
        rate::Rate,
    },
};

/// A function that names a counter: `fn(&HttpRequest) -> T`, or an Actix handler whose result is `T`, where
/// `T:` [`IntoScope`](crate::IntoScope).
///
/// ```
/// use actix_web::{HttpRequest, web};
/// use ratelimit_runtime::ratelimit;
///
/// fn path(request: &HttpRequest) -> String {
///     request.path().to_owned()
/// }
///
/// async fn shop(shop: web::Path<u64>) -> u64 {
///     shop.into_inner()
/// }
///
/// #[ratelimit("300/5m", scope = [path, shop])]
/// async fn offers() -> &'static str {
///     "counted for each path and shop"
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot name a counter",
    note = "a scope, key or user function is `fn(&HttpRequest) -> T`, or `async` with extractors as its arguments",
    note = "`T` is a `String`, a `&'static str`, an integer, an `IpAddr`, or an `Option` or `Result` of one of them"
)]
pub trait ScopeFunction<Marker> {
    /// Asks the function about `request`.
    fn ask(&self, request: &HttpRequest) -> Answer<Option<KeyPart>>;
}

/// A function that says what a request costs: `fn(&HttpRequest) -> T`, or an Actix handler whose result is `T`, where
/// `T:` [`IntoCost`](crate::IntoCost).
///
/// ```
/// use actix_web::{HttpRequest, web};
/// use ratelimit_runtime::ratelimit;
///
/// fn pages(request: &HttpRequest) -> u32 {
///     if request.path().ends_with("/all") { 10 } else { 1 }
/// }
///
/// async fn rows(rows: web::Path<u64>) -> u64 {
///     rows.into_inner()
/// }
///
/// #[ratelimit("300/5m", cost = pages)]
/// #[ratelimit("100000/day", scope = "user", cost = rows)]
/// async fn report() -> &'static str {
///     "as long as it is dear"
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "this cannot say what a request costs",
    note = "a cost function is `fn(&HttpRequest) -> T`, or `async` with extractors as its arguments",
    note = "`T` is a `u32` or another unsigned integer, or a `Result` of one",
    note = "the name of a `const` is in capitals: any other is taken for a function"
)]
pub trait CostFunction<Marker> {
    /// Asks the function about `request`.
    fn ask(&self, request: &HttpRequest) -> Answer<u64>;
}

/// A function that says how often a request is admitted: `fn(&HttpRequest) -> T`, or an Actix handler whose result is `T`, where
/// `T` is a [`Rate`], an `Option` of one, where `None` is no limit, or a `Result` of either, where `Err` answers the request.
///
/// ```
/// use actix_web::{HttpRequest, web};
/// use ratelimit_runtime::{Rate, ratelimit};
///
/// struct Partners(Vec<String>);
///
/// async fn plan(partners: web::Data<Partners>, request: HttpRequest) -> Option<Rate> {
///     let key = request.headers().get("X-Api-Key").and_then(|key| key.to_str().ok());
///     match key {
///         Some("root") => None,
///         Some(key) if partners.0.iter().any(|partner| partner == key) => Some(Rate::per_minute(600)),
///         _ => Some(Rate::per_minute(60)),
///     }
/// }
///
/// #[ratelimit(rate = plan, scope = "header:X-Api-Key")]
/// async fn quote() -> &'static str {
///     "as often as your plan says"
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot say how often a request is admitted",
    note = "a rate function is `fn(&HttpRequest) -> T`, or `async` with extractors as its arguments",
    note = "`T` is a `Rate`, or an `Option` or `Result` of one"
)]
pub trait RateFunction<Marker> {
    /// Asks the function about `request`.
    fn ask(&self, request: &HttpRequest) -> Answer<Option<Rate>>;
}

/// A function that says whether a request is exempt from a rule: `fn(&HttpRequest) -> T`, or an Actix handler whose
/// result is `T`, where `T:` [`IntoExempt`](crate::IntoExempt).
///
/// ```
/// use actix_web::{HttpRequest, web};
/// use ratelimit_runtime::ratelimit;
///
/// struct Partners(Vec<String>);
///
/// async fn partner(partners: web::Data<Partners>, request: HttpRequest) -> bool {
///     let key = request.headers().get("X-Api-Key").and_then(|key| key.to_str().ok());
///     key.is_some_and(|key| partners.0.iter().any(|partner| partner == key))
/// }
///
/// #[ratelimit("300/5m", exempt = partner)]
/// async fn quote() -> &'static str {
///     "partners may ask as often as they like"
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot exempt a request",
    note = "an exempt function is `fn(&HttpRequest) -> T`, or `async` with extractors as its arguments",
    note = "`T` is a `bool`, or a `Result` of one"
)]
pub trait ExemptFunction<Marker> {
    /// Asks the function about `request`.
    fn ask(&self, request: &HttpRequest) -> Answer<bool>;
}

/// A function that says of a response whether its request counts: `fn(&HttpResponse) -> bool`.
///
/// ```
/// use actix_web::HttpResponse;
/// use ratelimit_runtime::ratelimit;
///
/// fn failed(response: &HttpResponse) -> bool {
///     !response.status().is_success()
/// }
///
/// #[ratelimit("5/minute", count_if = failed)]
/// async fn login() -> HttpResponse {
///     HttpResponse::Unauthorized().finish()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot say whether a request counts",
    note = "a count_if function is `fn(&HttpResponse) -> bool`, and not `async`: the response is ready to be sent"
)]
pub trait CountFunction: Sealed<OfResponse> {
    /// Asks the function about `response`.
    fn counts(&self, response: &HttpResponse) -> bool;
}

/// A function that answers a request while the store is unavailable: `fn(&HttpRequest) -> R`, or an Actix handler, where
/// `R: Responder`. [`RateLimiterBuilder::unavailable`](crate::RateLimiterBuilder::unavailable) takes it.
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse, web};
/// use ratelimit_runtime::RateLimiter;
///
/// struct Status(String);
///
/// async fn not_now(page: web::Data<Status>) -> HttpResponse {
///     HttpResponse::ServiceUnavailable().body(format!("see {}", page.0))
/// }
///
/// let builder = RateLimiter::builder().unavailable(not_now);
/// # drop(builder);
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot answer a request while the store is unavailable",
    note = "an unavailable function is `fn(&HttpRequest) -> R`, or `async` with extractors as its arguments, where `R: Responder`"
)]
pub trait UnavailableFunction<Marker> {
    /// Lets the function answer `request`.
    fn answer(&self, request: &HttpRequest) -> Answer<HttpResponse>;
}

/// A function that answers a request over its limit: `fn(&HttpRequest, &RateLimitState) -> R`, or an Actix
/// handler, where `R: Responder`.
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse};
/// use ratelimit_runtime::{RateLimitState, ratelimit};
///
/// fn later(_: &HttpRequest, state: &RateLimitState) -> HttpResponse {
///     let seconds = state.retry_after().unwrap_or(1);
///     HttpResponse::ServiceUnavailable().body(format!("busy for {seconds} s"))
/// }
///
/// #[ratelimit("300/5m", over_limit = later)]
/// async fn quote() -> &'static str {
///     "Simplicity is prerequisite for reliability."
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot answer a request over its limit",
    note = "an over_limit function is `fn(&HttpRequest, &RateLimitState) -> R`, or `async` with extractors as its \
            arguments, where `R: Responder`"
)]
pub trait OverLimitFunction<Marker> {
    /// Lets the function answer `request`, which is over the limit as `state` says.
    fn answer(&self, request: &HttpRequest, state: &RateLimitState) -> Answer<HttpResponse>;
}
