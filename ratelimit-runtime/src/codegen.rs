//! The names in the attribute's output. They change with the attribute, so the two crates always have the same version.
//!
//! Nothing here is for users. A type or trait that a signature has and the output does not name stays out.

// An item of a user's may have any of these names, so the output takes them from here.
pub use std::{concat, module_path, primitive::i128};

pub use actix_web::{FromRequest, HttpResponse, Responder};
pub use ratelimit_macros::ratelimit;

pub use crate::{
    http::attribute::{Incoming, limited},
    rule::{
        Rule,
        function::held::{cost, count_if, exempt, rate, respond, scope},
        number::{number, seconds},
        on_store_error::OnStoreError,
        policy::{Policy, policy},
        scope::Scope,
    },
};
