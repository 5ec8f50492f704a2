//! What rules admit, and which counters rules share.

mod algorithms;
mod claims;
mod functions;
mod names;
mod plans;
mod policy;
mod shared_rates;
