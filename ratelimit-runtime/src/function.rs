//! The functions that users name in an attribute, whatever they look like: made one plain function type here.
//!
//! A function is either plain, `fn(&HttpRequest) -> T`, or written like any Actix handler: `async`, with
//! extractors as its arguments. The `Marker` parameter of each trait tells the two apart, and is inferred.

mod extract;

use std::{any::type_name, fmt, future::Future, net::IpAddr, pin::Pin};

use actix_web::{Error, FromRequest, Handler, HttpRequest, HttpResponse, Responder};

pub(crate) use self::extract::ExtractsBody;
use crate::{key::Text, state::RateLimitState};

type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// What a user's function gave.
pub struct Answer<T> {
    /// The type name of the function, which tells it from others of the same name.
    pub(crate) function: &'static str,
    value: Value<T>,
}

enum Value<T> {
    /// Of a plain function.
    Now(Result<T, Error>),
    /// Of a function with extractors, when they and it have run.
    Later(Later<T>),
}

impl<T> Answer<T> {
    fn now<F>(value: Result<T, Error>) -> Self {
        Self { function: type_name::<F>(), value: Value::Now(value) }
    }

    fn later<F>(value: impl Future<Output = Result<T, Error>> + 'static) -> Self {
        Self { function: type_name::<F>(), value: Value::Later(Box::pin(value)) }
    }

    pub(crate) async fn get(self) -> Result<T, Error> {
        match self.value {
            Value::Now(value) => value,
            Value::Later(value) => value.await,
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("function", &self.function).finish_non_exhaustive()
    }
}

/// What a scope, key or user function may return: text, a number or an address; an `Option` of one, where
/// `None` exempts the request (a user function: says that nobody is signed in); or a `Result`, where `Err`
/// answers the request.
///
/// A text that is empty, or white space alone, names no counter and exempts nobody: the request counts for its address, as
/// one without a user does. An `IpAddr` counts as it is: an IPv6 client has a whole network of them.
///
/// ```
/// use actix_web::HttpRequest;
///
/// /// Counts per tenant; the health check of the load balancer is exempt.
/// fn tenant(request: &HttpRequest) -> Option<String> {
///     (request.path() != "/health").then(|| request.connection_info().host().to_owned())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot name a counter",
    note = "return a `String`, a `&'static str`, an integer, an `IpAddr`, or an `Option` or `Result` of one of them"
)]
pub trait IntoScope {
    /// The name of the counter; `None` for a request that is not counted.
    ///
    /// # Errors
    /// The error that answers the request.
    fn into_scope(self) -> Result<Option<Text>, Error>;
}

impl<T: IntoScope> IntoScope for Option<T> {
    fn into_scope(self) -> Result<Option<Text>, Error> {
        self.map_or(Ok(None), T::into_scope)
    }
}

impl<T: IntoScope, E: Into<Error>> IntoScope for Result<T, E> {
    fn into_scope(self) -> Result<Option<Text>, Error> {
        self.map_err(Into::into)?.into_scope()
    }
}

macro_rules! into_scope {
    ($($type:ty => |$value:ident| $bytes:expr;)*) => { $(
        impl IntoScope for $type {
            fn into_scope(self) -> Result<Option<Text>, Error> {
                let $value = self;
                Ok(Some(Text::new($bytes)))
            }
        }
    )* };
}

into_scope! {
    String => |value| value.as_bytes();
    &'static str => |value| value.as_bytes();
    std::borrow::Cow<'static, str> => |value| value.as_bytes();
    IpAddr => |value| value.to_canonical().to_string().as_bytes();
    u16 => |value| itoa::Buffer::new().format(value).as_bytes();
    u32 => |value| itoa::Buffer::new().format(value).as_bytes();
    u64 => |value| itoa::Buffer::new().format(value).as_bytes();
    u128 => |value| itoa::Buffer::new().format(value).as_bytes();
    usize => |value| itoa::Buffer::new().format(value).as_bytes();
    i32 => |value| itoa::Buffer::new().format(value).as_bytes();
    i64 => |value| itoa::Buffer::new().format(value).as_bytes();
}

/// A function that names a counter: `fn(&HttpRequest) -> T`, or an Actix handler whose result is `T`, where
/// `T:` [`IntoScope`].
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
    fn ask(&self, request: &HttpRequest) -> Answer<Option<Text>>;
}

/// What a cost function may return: an unsigned integer, or a `Result` of one, where `Err` answers the request.
///
/// A request that costs 0 takes nothing, and is never refused. One that costs more than the limit never passes.
///
/// ```
/// use actix_web::HttpRequest;
///
/// /// A search costs as much as it has words.
/// fn words(request: &HttpRequest) -> usize {
///     request.query_string().split('+').count()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no cost",
    note = "return a `u32` or another unsigned integer, or a `Result` of one, where `Err` answers the request"
)]
pub trait IntoCost {
    /// How much of a limit the request takes.
    ///
    /// # Errors
    /// The error that answers the request.
    fn into_cost(self) -> Result<u64, Error>;
}

impl<T: IntoCost, E: Into<Error>> IntoCost for Result<T, E> {
    fn into_cost(self) -> Result<u64, Error> {
        self.map_err(Into::into)?.into_cost()
    }
}

macro_rules! into_cost {
    ($($type:ty)*) => { $(
        impl IntoCost for $type {
            /// The largest cost for what is larger still: no limit has room for either.
            fn into_cost(self) -> Result<u64, Error> {
                Ok(u64::try_from(self).unwrap_or(u64::MAX))
            }
        }
    )* };
}

into_cost! { u8 u16 u32 u64 u128 usize }

/// What an exempt function may return: a `bool`, or a `Result` of one, where `Err` answers the request.
///
/// ```
/// use actix_web::HttpRequest;
///
/// fn from_the_office(request: &HttpRequest) -> bool {
///     request.peer_addr().is_some_and(|address| address.ip().is_loopback())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot exempt a request",
    note = "return a `bool`, or a `Result` of one, where `Err` answers the request"
)]
pub trait IntoExempt {
    /// Whether the request is not counted.
    ///
    /// # Errors
    /// The error that answers the request.
    fn into_exempt(self) -> Result<bool, Error>;
}

impl IntoExempt for bool {
    fn into_exempt(self) -> Result<bool, Error> {
        Ok(self)
    }
}

impl<E: Into<Error>> IntoExempt for Result<bool, E> {
    fn into_exempt(self) -> Result<bool, Error> {
        self.map_err(Into::into)
    }
}

/// A function that says what a request costs: `fn(&HttpRequest) -> T`, or an Actix handler whose result is `T`, where
/// `T:` [`IntoCost`].
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

/// A function that says whether a request is exempt from a rule: `fn(&HttpRequest) -> T`, or an Actix handler whose
/// result is `T`, where `T:` [`IntoExempt`].
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

/// A function that answers a request over its limit: `fn(&HttpRequest, &RateLimitState) -> R`, or an Actix
/// handler, where `R: Responder`.
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse};
/// use ratelimit_runtime::{RateLimitState, ratelimit};
///
/// fn later(_: &HttpRequest, state: &RateLimitState) -> HttpResponse {
///     HttpResponse::ServiceUnavailable().body(format!("busy for {} s", state.retry_after()))
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

/// Marks plain functions.
#[derive(Debug)]
pub struct Plain<R>(std::marker::PhantomData<R>);

/// Marks functions written like Actix handlers.
#[derive(Debug)]
pub struct Extracting<Args>(std::marker::PhantomData<Args>);

/// Both kinds of function, for each trait of functions that are asked about a request alone.
macro_rules! asked {
    ($($function:ident: $into:ident, $method:ident => $value:ty;)*) => { $(
        impl<F, R> $function<Plain<R>> for F
        where
            F: Fn(&HttpRequest) -> R,
            R: $into,
        {
            fn ask(&self, request: &HttpRequest) -> Answer<$value> {
                Answer::now::<F>(self(request).$method())
            }
        }

        impl<F, Args> $function<Extracting<Args>> for F
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: $into,
        {
            fn ask(&self, request: &HttpRequest) -> Answer<$value> {
                let (function, request) = (self.clone(), request.clone());
                Answer::later::<F>(async move {
                    let args = extract::extract::<Args>(&request, type_name::<F>()).await?;
                    function.call(args).await.$method()
                })
            }
        }
    )* };
}

asked! {
    ScopeFunction: IntoScope, into_scope => Option<Text>;
    CostFunction: IntoCost, into_cost => u64;
    ExemptFunction: IntoExempt, into_exempt => bool;
}

impl<F, R> OverLimitFunction<Plain<R>> for F
where
    F: Fn(&HttpRequest, &RateLimitState) -> R,
    R: Responder,
{
    fn answer(&self, request: &HttpRequest, state: &RateLimitState) -> Answer<HttpResponse> {
        Answer::now::<F>(Ok(self(request, state).respond_to(request).map_into_boxed_body()))
    }
}

impl<F, Args> OverLimitFunction<Extracting<Args>> for F
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder,
{
    fn answer(&self, request: &HttpRequest, _: &RateLimitState) -> Answer<HttpResponse> {
        let (function, request) = (self.clone(), request.clone());
        Answer::later::<F>(async move {
            let args = extract::extract::<Args>(&request, type_name::<F>()).await?;
            Ok(function.call(args).await.respond_to(&request).map_into_boxed_body())
        })
    }
}

/// Called by the attribute's output: a scope or key function as a plain function type.
pub fn scope<F, Marker>(request: &HttpRequest, function: F) -> Answer<Option<Text>>
where
    F: ScopeFunction<Marker>,
{
    function.ask(request)
}

/// Called by the attribute's output: a cost function as a plain function type.
pub fn cost<F, Marker>(request: &HttpRequest, function: F) -> Answer<u64>
where
    F: CostFunction<Marker>,
{
    function.ask(request)
}

/// Called by the attribute's output: an exempt function as a plain function type.
pub fn exempt<F, Marker>(request: &HttpRequest, function: F) -> Answer<bool>
where
    F: ExemptFunction<Marker>,
{
    function.ask(request)
}

/// Called by the attribute's output: an over-limit function as a plain function type.
pub fn respond<F, Marker>(request: &HttpRequest, state: &RateLimitState, function: F) -> Answer<HttpResponse>
where
    F: OverLimitFunction<Marker>,
{
    function.answer(request, state)
}
