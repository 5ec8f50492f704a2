//! What a check found, as plain numbers.

pub(crate) mod outcome;
pub(crate) mod settlement;
pub(crate) mod state;
