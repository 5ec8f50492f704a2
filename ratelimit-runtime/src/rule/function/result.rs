//! What the functions of users return.

use std::{borrow::Cow, net::IpAddr};

use actix_web::Error;

use crate::{
    counter::key_part::KeyPart,
    rule::{
        function::sealed::{Results, Sealed},
        rate::Rate,
    },
};

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
    fn into_scope(self) -> Result<Option<KeyPart>, Error>;
}

impl<T: IntoScope> IntoScope for Option<T> {
    fn into_scope(self) -> Result<Option<KeyPart>, Error> {
        self.map_or(Ok(None), T::into_scope)
    }
}

impl<T: IntoScope, E: Into<Error>> IntoScope for Result<T, E> {
    fn into_scope(self) -> Result<Option<KeyPart>, Error> {
        self.map_err(Into::into)?.into_scope()
    }
}

macro_rules! into_scope {
    ($($type:ty => |$value:ident| $bytes:expr;)*) => { $(
        impl IntoScope for $type {
            fn into_scope(self) -> Result<Option<KeyPart>, Error> {
                let $value = self;
                Ok(Some(KeyPart::from_bytes($bytes)))
            }
        }
    )* };
}

into_scope! {
    String => |value| value.as_bytes();
    &str => |value| value.as_bytes();
    Cow<'_, str> => |value| value.as_bytes();
    IpAddr => |value| value.to_canonical().to_string().as_bytes();
    u16 => |value| itoa::Buffer::new().format(value).as_bytes();
    u32 => |value| itoa::Buffer::new().format(value).as_bytes();
    u64 => |value| itoa::Buffer::new().format(value).as_bytes();
    u128 => |value| itoa::Buffer::new().format(value).as_bytes();
    usize => |value| itoa::Buffer::new().format(value).as_bytes();
    i32 => |value| itoa::Buffer::new().format(value).as_bytes();
    i64 => |value| itoa::Buffer::new().format(value).as_bytes();
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
pub trait IntoCost: Sealed<Results> {
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

/// What a rate function may return: a [`Rate`]; an `Option` of one, where `None` is no limit; or a `Result` of either, where `Err` answers
/// the request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no rate",
    note = "return a `Rate`, or an `Option` or `Result` of one, where `None` is no limit and `Err` answers the request"
)]
pub trait IntoRate: Sealed<Results> {
    /// The rate; `None` for no limit.
    ///
    /// # Errors
    /// The error that answers the request.
    fn into_rate(self) -> Result<Option<Rate>, Error>;
}

impl IntoRate for Rate {
    fn into_rate(self) -> Result<Option<Rate>, Error> {
        Ok(Some(self))
    }
}

impl<T: IntoRate> IntoRate for Option<T> {
    fn into_rate(self) -> Result<Option<Rate>, Error> {
        self.map_or(Ok(None), T::into_rate)
    }
}

impl<T: IntoRate, E: Into<Error>> IntoRate for Result<T, E> {
    fn into_rate(self) -> Result<Option<Rate>, Error> {
        self.map_err(Into::into)?.into_rate()
    }
}

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
pub trait IntoExempt: Sealed<Results> {
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
