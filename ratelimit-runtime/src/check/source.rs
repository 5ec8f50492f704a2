//! Where the values come from by which rules count: from a request, or from what a program says.

use std::future::Future;

use crate::{
    check::error::CheckError,
    counter::{address::Address, key_part::KeyPart},
    decision::state::RateLimitState,
    limiter::clients::Clients,
    rule::{
        function::held::AskRef,
        rate::{Rate, RateOutOfRange},
        scope::ScopeFn,
    },
};

/// The values of a subject. A request has all of them; a [`Subject`](crate::Subject) that a program made may lack one, which is an
/// error.
///
/// The trait is sealed: [`Subject`](crate::Subject) and [`RequestSubject`](crate::RequestSubject) implement it.
pub trait Source {
    /// Why a value cannot be had.
    type Error: Into<CheckError> + From<RateOutOfRange>;

    /// The address that a rule counts, or that stands in for an empty value. It is asked for after
    /// [`require_address`](Self::require_address).
    fn address(&self, clients: &Clients) -> Address;

    /// The value of a header without white space around it; empty without the header. It is asked for after
    /// [`require_header`](Self::require_header).
    fn header(&self, name: &str) -> &[u8];

    /// Whether a rule for these methods counts the subject.
    fn has_method(&self, methods: &[&str]) -> bool;

    /// Fails if there is no address.
    fn require_address(&self) -> Result<(), Self::Error>;

    /// Fails if nothing is known about a header.
    fn require_header(&self, name: &'static str) -> Result<(), Self::Error>;

    /// The user; empty, if nobody is signed in, and `None` for a subject that is not counted.
    fn user(
        &self,
        clients: &Clients,
        policy: &'static str,
    ) -> impl Future<Output = Result<Option<KeyPart>, Self::Error>>;

    /// The result of a scope function.
    fn part(&self, function: ScopeFn) -> impl Future<Output = Result<Option<KeyPart>, Self::Error>>;

    /// The result of a key function, which was written as `path`.
    fn key(
        &self,
        path: &'static str,
        function: AskRef<Option<KeyPart>>,
    ) -> impl Future<Output = Result<Option<KeyPart>, Self::Error>>;

    /// The result of a cost function, which was written as `path`.
    fn cost(&self, path: &'static str, function: AskRef<u64>) -> impl Future<Output = Result<u64, Self::Error>>;

    /// Keeps the state of a check with the request, if there is one.
    fn keep(&self, state: &RateLimitState);

    /// The result of a rate function, which was written as `path`; `None` for no limit.
    fn rate(
        &self,
        path: &'static str,
        function: AskRef<Option<Rate>>,
    ) -> impl Future<Output = Result<Option<Rate>, Self::Error>>;

    /// The result of an exempt function.
    fn is_exempt(&self, function: AskRef<bool>) -> impl Future<Output = Result<bool, Self::Error>>;
}
