//! Whom a request counts for.

mod function_bodies;
mod missing_values;
mod policies;
mod subject;
