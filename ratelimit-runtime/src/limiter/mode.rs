//! Whether a limiter counts, and whether it refuses.

/// What a limiter does with checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Counts and refuses.
    #[default]
    Enforcing,
    /// Counts, and refuses nothing.
    Shadow,
    /// Does not count.
    Disabled,
}
