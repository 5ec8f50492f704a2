//! The protocol: how a batch becomes a call of the script, and how its reply is read.

pub(crate) mod call;
pub(crate) mod grouping;
pub(crate) mod plan;
pub(crate) mod reply;
pub(crate) mod resp;
