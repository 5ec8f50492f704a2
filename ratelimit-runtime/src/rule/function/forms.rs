//! The two forms of a user's function: plain, and written like an Actix handler.

use std::any::type_name;

use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder};

use crate::{
    counter::key_part::KeyPart,
    decision::state::RateLimitState,
    rule::{
        function::{
            answer::Answer,
            extract::extract,
            result::{IntoCost, IntoExempt, IntoRate, IntoScope},
            traits::{
                CostFunction, CountFunction, ExemptFunction, OverLimitFunction, RateFunction, ScopeFunction,
                UnavailableFunction,
            },
        },
        rate::Rate,
    },
};

/// A function of one argument, by what it returns. The result may borrow from the argument: so the trait is asked for
/// every lifetime, which a type parameter for the result could not be.
pub trait Returns<Argument>: Fn(Argument) -> Self::Result {
    /// What the function returns.
    type Result;
}

impl<F, Argument, R> Returns<Argument> for F
where
    F: Fn(Argument) -> R,
{
    type Result = R;
}

/// A function of a request and a state, by what it returns.
pub trait ReturnsOf<Request, State>: Fn(Request, State) -> Self::Result {
    /// What the function returns.
    type Result;
}

impl<F, Request, State, R> ReturnsOf<Request, State> for F
where
    F: Fn(Request, State) -> R,
{
    type Result = R;
}

/// The marker of plain functions. It separates their trait implementations from those of functions written like handlers.
#[derive(Debug)]
pub struct Plain;

/// Marks functions written like Actix handlers.
#[derive(Debug)]
pub struct Extracting<Args>(std::marker::PhantomData<Args>);

/// Both kinds of function, for each trait of functions that are asked about a request alone.
macro_rules! asked {
    ($($function:ident: $into:ident, $method:ident => $value:ty;)*) => { $(
        impl<F> $function<Plain> for F
        where
            F: for<'a> Returns<&'a HttpRequest>,
            for<'a> <F as Returns<&'a HttpRequest>>::Result: $into,
        {
            fn ask(&self, request: &HttpRequest) -> Answer<$value> {
                Answer::now(self(request).$method())
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
                Answer::later(async move {
                    let args = extract::<Args>(&request, type_name::<F>()).await?;
                    function.call(args).await.$method()
                })
            }
        }
    )* };
}

asked! {
    ScopeFunction: IntoScope, into_scope => Option<KeyPart>;
    CostFunction: IntoCost, into_cost => u64;
    RateFunction: IntoRate, into_rate => Option<Rate>;
    ExemptFunction: IntoExempt, into_exempt => bool;
}

impl<F> OverLimitFunction<Plain> for F
where
    F: for<'a, 'b> ReturnsOf<&'a HttpRequest, &'b RateLimitState>,
    for<'a, 'b> <F as ReturnsOf<&'a HttpRequest, &'b RateLimitState>>::Result: Responder,
{
    fn answer(&self, request: &HttpRequest, state: &RateLimitState) -> Answer<HttpResponse> {
        Answer::now(Ok(self(request, state).respond_to(request).map_into_boxed_body()))
    }
}

impl<F, Args> OverLimitFunction<Extracting<Args>> for F
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder,
{
    fn answer(&self, request: &HttpRequest, _: &RateLimitState) -> Answer<HttpResponse> {
        respond_like_a_handler(self, request)
    }
}

impl<F> UnavailableFunction<Plain> for F
where
    F: for<'a> Returns<&'a HttpRequest>,
    for<'a> <F as Returns<&'a HttpRequest>>::Result: Responder,
{
    fn answer(&self, request: &HttpRequest) -> Answer<HttpResponse> {
        Answer::now(Ok(self(request).respond_to(request).map_into_boxed_body()))
    }
}

impl<F, Args> UnavailableFunction<Extracting<Args>> for F
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder,
{
    fn answer(&self, request: &HttpRequest) -> Answer<HttpResponse> {
        respond_like_a_handler(self, request)
    }
}

/// The response of a function that is written like a handler.
fn respond_like_a_handler<F, Args>(function: &F, request: &HttpRequest) -> Answer<HttpResponse>
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder,
{
    let (function, request) = (function.clone(), request.clone());
    Answer::later(async move {
        let args = extract::<Args>(&request, type_name::<F>()).await?;
        Ok(function.call(args).await.respond_to(&request).map_into_boxed_body())
    })
}

// So that the compiler's message is that of the trait, whatever is wrong with the function.
#[diagnostic::do_not_recommend]
impl<F> CountFunction for F
where
    F: for<'a> Returns<&'a HttpResponse, Result = bool>,
{
    fn counts(&self, response: &HttpResponse) -> bool {
        self(response)
    }
}
