//! The numbers of an attribute that are constant expressions, converted at compile time from any type of integer.

use std::{num::NonZero, ops::Deref, time::Duration};

/// The types that `limit`, `cost`, `burst` and `lease` take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no integer",
    note = "a number in `#[ratelimit]` is an integer, such as `300`, `BASE * 2` or `LIMIT.get()`"
)]
pub trait Number: Copy {}

/// The types that `per` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no time",
    note = "`per` in `#[ratelimit]` is an integer of seconds, a `Duration`, or text such as \"5m\""
)]
pub trait Seconds: Copy {}

/// The types of integers. Their own trait, so that the implementations of [`Value::get`] do not overlap.
pub trait Integer: Copy {}

/// A number of a type that is fit for its argument.
#[derive(Debug)]
pub struct Value<T>(T);

/// Called by the attribute's output: the value of an argument that takes an integer.
#[must_use]
pub const fn number<T: Number>(number: T) -> Value<T> {
    Value(number)
}

/// Called by the attribute's output: the value of `per`.
#[must_use]
pub const fn seconds<T: Seconds>(seconds: T) -> Value<T> {
    Value(seconds)
}

// A constant function cannot call a method of a trait. So these are inherent methods of one name, and the output casts their results.

impl<T: Integer> Value<T> {
    /// The integer.
    #[must_use]
    pub const fn get(self) -> T {
        self.0
    }
}

impl Value<Duration> {
    /// The whole seconds.
    #[must_use]
    #[track_caller]
    pub const fn get(self) -> u64 {
        assert!(self.0.subsec_nanos() == 0, "`per` must be whole seconds");
        self.0.as_secs()
    }
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Integer for $type {}
        impl Number for $type {}
        impl Seconds for $type {}
        impl Number for NonZero<$type> {}
        impl Seconds for NonZero<$type> {}

        impl Value<NonZero<$type>> {
            /// The integer.
            #[must_use]
            pub const fn get(self) -> $type {
                self.0.get()
            }
        }
    )* };
}

integers! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }

impl Seconds for Duration {}

/// Has the method of a [`Value`] of any other type. [`number`] and [`seconds`] refuse such a type with a message of their
/// own; without this, a second error would follow, that the method does not exist.
#[derive(Debug)]
pub struct Refused;

impl Refused {
    /// Never called.
    #[must_use]
    pub const fn get(&self) -> i128 {
        1
    }
}

impl<T> Deref for Value<T> {
    type Target = Refused;

    fn deref(&self) -> &Refused {
        &Refused
    }
}
