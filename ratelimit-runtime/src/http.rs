//! What Actix sees: the attribute's entry point, the middleware, and the responses.

pub(crate) mod attribute;
pub(crate) mod headers;
pub(crate) mod held_body;
pub(crate) mod middleware;
pub(crate) mod problem;
pub(crate) mod refusal;
pub(crate) mod state;
pub(crate) mod warnings;
