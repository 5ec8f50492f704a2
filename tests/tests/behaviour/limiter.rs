//! How a limiter is set up, and what an administrator does with it.

mod builder;
mod modes;
mod target;
