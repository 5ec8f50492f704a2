//! How a limiter tells clients apart.

use std::sync::Once;

use actix_web::HttpRequest;

use crate::{
    counter::{client_ip::ClientIp, key_part::KeyPart},
    rule::function::{answer::Answer, traits::ScopeFunction},
};

/// The function that says who a request's user is.
pub(crate) type UserFunction = dyn Fn(&HttpRequest) -> Answer<Option<KeyPart>> + Send + Sync;

/// How to tell clients apart: the part of a limiter's set-up that scopes need.
pub struct Clients {
    pub(crate) ip: ClientIp,
    pub(crate) user: Option<Box<UserFunction>>,
    /// A missing user function is logged once, not for each request.
    pub(crate) reported: Once,
}

impl Clients {
    pub(crate) fn user_function<F, Marker>(function: F) -> Box<UserFunction>
    where
        F: ScopeFunction<Marker> + Send + Sync + 'static,
    {
        Box::new(move |request| function.ask(request))
    }
}
