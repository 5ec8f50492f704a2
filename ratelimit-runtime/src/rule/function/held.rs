//! A function of users as a policy holds it: the attribute's output makes one of each function that is named in it.

use std::{any::TypeId, fmt};

use actix_web::{HttpRequest, HttpResponse};

use crate::{
    counter::key_part::KeyPart,
    decision::state::RateLimitState,
    rule::{
        function::{
            answer::Answer,
            traits::{
                CostFunction, CountFunction, ExemptFunction, OverLimitFunction, RateFunction, ScopeFunction,
                UnavailableFunction,
            },
        },
        rate::Rate,
    },
};

/// A reference to a function that is asked about a request. A rule stores this type.
pub(crate) type AskRef<T> = &'static dyn Ask<T>;

/// A reference to a function that answers a request over its limit. A rule stores this type.
pub(crate) type RespondRef = &'static dyn Respond;

/// A reference to a function that says of a response whether its request counts. A rule stores this type.
pub(crate) type CountIfRef = &'static dyn CountIf;

/// A function that is asked about a request.
pub trait Ask<T>: Sync {
    /// Asks the function about `request`.
    fn ask(&self, request: &HttpRequest) -> Answer<T>;

    /// Tells the function from every other of this process.
    fn id(&self) -> TypeId;
}

/// A function that answers a request over its limit.
pub trait Respond: Sync {
    /// Lets the function answer `request`, which is over the limit as `state` says.
    fn respond(&self, request: &HttpRequest, state: &RateLimitState) -> Answer<HttpResponse>;
}

/// A function that says of a response whether its request counts.
pub trait CountIf: Sync {
    /// Asks the function about `response`.
    fn counts(&self, response: &HttpResponse) -> bool;
}

/// A function, and how it is called. Only the functions below, which make one, ask for the trait of the function: so the compiler
/// reports a wrong one once, where it is named.
pub struct Held<F, Call> {
    function: F,
    call: Call,
}

type AskCall<F, T> = fn(&F, &HttpRequest) -> Answer<T>;
type RespondCall<F> = fn(&F, &HttpRequest, &RateLimitState) -> Answer<HttpResponse>;
type CountIfCall<F> = fn(&F, &HttpResponse) -> bool;

/// Called by the attribute's output: a scope or key function.
pub const fn scope<F, Marker>(function: F) -> Held<F, AskCall<F, Option<KeyPart>>>
where
    F: ScopeFunction<Marker>,
{
    Held { function, call: F::ask }
}

/// Called by the attribute's output: a cost function.
pub const fn cost<F, Marker>(function: F) -> Held<F, AskCall<F, u64>>
where
    F: CostFunction<Marker>,
{
    Held { function, call: F::ask }
}

/// Called by the attribute's output: a rate function.
pub const fn rate<F, Marker>(function: F) -> Held<F, AskCall<F, Option<Rate>>>
where
    F: RateFunction<Marker>,
{
    Held { function, call: F::ask }
}

/// Called by the attribute's output: an exempt function.
pub const fn exempt<F, Marker>(function: F) -> Held<F, AskCall<F, bool>>
where
    F: ExemptFunction<Marker>,
{
    Held { function, call: F::ask }
}

/// Called by the attribute's output: an over-limit function.
pub const fn respond<F, Marker>(function: F) -> Held<F, RespondCall<F>>
where
    F: OverLimitFunction<Marker>,
{
    Held { function, call: F::answer }
}

/// A function that answers requests while the store is unavailable.
pub(crate) const fn unavailable<F, Marker>(function: F) -> Held<F, AskCall<F, HttpResponse>>
where
    F: UnavailableFunction<Marker>,
{
    Held { function, call: F::answer }
}

/// Called by the attribute's output: a `count_if` function.
pub const fn count_if<F>(function: F) -> Held<F, CountIfCall<F>>
where
    F: CountFunction,
{
    Held { function, call: F::counts }
}

impl<F, T> Ask<T> for Held<F, AskCall<F, T>>
where
    F: Sync + 'static,
{
    fn ask(&self, request: &HttpRequest) -> Answer<T> {
        (self.call)(&self.function, request)
    }

    fn id(&self) -> TypeId {
        TypeId::of::<F>()
    }
}

impl<F> Respond for Held<F, RespondCall<F>>
where
    F: Sync,
{
    fn respond(&self, request: &HttpRequest, state: &RateLimitState) -> Answer<HttpResponse> {
        (self.call)(&self.function, request, state)
    }
}

impl<F> CountIf for Held<F, CountIfCall<F>>
where
    F: Sync,
{
    fn counts(&self, response: &HttpResponse) -> bool {
        (self.call)(&self.function, response)
    }
}

impl<F, Call> fmt::Debug for Held<F, Call> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}
