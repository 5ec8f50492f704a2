//! The algorithms by which requests are counted. Each has its arithmetic in a file of its own.

pub(crate) mod fixed_window;
pub(crate) mod gcra;
pub(crate) mod sliding_window;

use crate::rule::limit::Limit;

/// How requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    FixedWindow,
    /// The count of this window, and a share of the last one's: the part of it that is less than a window ago.
    SlidingWindow,
    /// `limit` tokens come back in each `per`, evenly, and up to `burst` of them wait.
    Gcra {
        burst: u32,
    },
    /// At most `limit` requests run at the same time. Each holds a place, which the store keeps for `per` unless it is renewed.
    Concurrency,
}

impl Algorithm {
    /// How much may pass at once.
    #[inline]
    pub(crate) fn capacity(self, Limit { limit, .. }: Limit) -> u32 {
        match self {
            Self::FixedWindow | Self::SlidingWindow | Self::Concurrency => limit,
            Self::Gcra { burst } => burst,
        }
    }

    /// The seconds in which that comes back, rounded up.
    pub(crate) fn refill(self, Limit { limit, per }: Limit) -> u32 {
        match self {
            Self::FixedWindow | Self::SlidingWindow | Self::Concurrency => per,
            Self::Gcra { burst } => {
                let seconds = (u64::from(burst) * u64::from(per)).div_ceil(limit.into());
                u32::try_from(seconds).unwrap_or(u32::MAX)
            }
        }
    }

    /// The algorithm's part in the names of counters: their numbers mean something else under each.
    pub(crate) fn kind(self, stagger: bool) -> &'static str {
        match (self, stagger) {
            (Self::FixedWindow, false) => "",
            (Self::FixedWindow, true) => "-staggered",
            (Self::SlidingWindow, false) => "-sliding",
            (Self::SlidingWindow, true) => "-sliding-staggered",
            (Self::Gcra { .. }, _) => "-gcra",
            (Self::Concurrency, _) => "-concurrency",
        }
    }
}
