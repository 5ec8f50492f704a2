//! Whom a request counts for.

mod function_bodies;
mod function_calls;
mod missing_values;
mod policies;
mod subject;
