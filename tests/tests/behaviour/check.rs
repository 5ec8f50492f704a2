//! The subject of a request.

mod blocks;
mod bodies;
mod function_bodies;
mod function_calls;
mod missing_values;
mod policies;
mod settle;
mod settle_later;
mod subject;
