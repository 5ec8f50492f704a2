//! Keeps users from implementing traits that may grow.

use actix_web::HttpResponse;

use crate::rule::rate::Rate;

/// Of what a function returns.
#[derive(Debug)]
pub enum Results {}

/// Of a function that is asked about a response.
#[derive(Debug)]
pub enum OfResponse {}

/// A supertrait that cannot be named outside of this crate.
pub trait Sealed<Kind> {}

impl<T, E> Sealed<Results> for Result<T, E> {}

impl<T> Sealed<Results> for Option<T> {}

impl<F: Fn(&HttpResponse) -> bool> Sealed<OfResponse> for F {}

macro_rules! sealed {
    ($($type:ty)*) => { $( impl Sealed<Results> for $type {} )* };
}

sealed! { Rate bool u8 u16 u32 u64 u128 usize }
