//! What Actix and a client see: the attribute on handlers, headers, refusals, the state, warnings.

pub(crate) mod attribute;
mod header_forms;
mod headers;
mod middlewares;
mod over_limit;
mod own_answers;
mod rate_limit;
mod refusal;
pub(crate) mod shapes;
mod state;
mod warnings;
