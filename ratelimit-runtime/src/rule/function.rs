//! The functions that users name in an attribute, in whatever form they are written.

pub(crate) mod answer;
pub(crate) mod extract;
pub(crate) mod forms;
pub(crate) mod held;
pub(crate) mod result;
pub(crate) mod sealed;
pub(crate) mod traits;
