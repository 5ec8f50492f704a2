//! A rate that is known at run time: of a caller's plan.

use std::{str::FromStr, time::Duration};

use crate::rule::{
    algorithm::{Algorithm, gcra::LONGEST_REFILL},
    limit::{LONGEST_WINDOW, Limit},
    reported::Reported,
};

/// So many requests in so much time, as a function in `rate = …` returns it.
///
/// ```
/// use std::time::Duration;
/// use ratelimit_runtime::Rate;
///
/// # fn main() -> Result<(), ratelimit_runtime::ParseRateError> {
/// assert_eq!(Rate::per_minute(600), Rate::new(600, Duration::from_secs(60)));
/// assert_eq!("600/minute".parse::<Rate>()?, Rate::per_minute(600));
/// let steady = Rate::per_second(5).burst(20); // for `algorithm = "gcra"`
/// # let _ = steady;
/// # Ok(())
/// # }
/// ```
///
/// The ranges are those of the attribute: from 1 request, in whole seconds from 1 to 2147483647 (half of that for a sliding window). A rate out
/// of range is answered 500, and the log says why (RL025); it never admits silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    limit: u32,
    per: Duration,
    burst: Option<u32>,
}

impl Rate {
    /// `limit` requests in `per`, which is a number of whole seconds.
    #[must_use]
    pub const fn new(limit: u32, per: Duration) -> Self {
        Self { limit, per, burst: None }
    }

    /// `limit` requests in a second.
    #[must_use]
    pub const fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// `limit` requests in a minute.
    #[must_use]
    pub const fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// `limit` requests in an hour.
    #[must_use]
    pub const fn per_hour(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60 * 60))
    }

    /// `limit` requests in a day.
    #[must_use]
    pub const fn per_day(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(24 * 60 * 60))
    }

    /// How many requests may come at once under `algorithm = "gcra"`; the limit, unless set. They come back within 90 days. Other algorithms
    /// ignore it.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// The limit and the algorithm of a rule under this rate.
    pub(crate) fn of(self, algorithm: Algorithm) -> Result<(Limit, Algorithm), &'static str> {
        let longest = match algorithm {
            Algorithm::SlidingWindow => LONGEST_WINDOW / 2,
            Algorithm::FixedWindow | Algorithm::Gcra { .. } | Algorithm::Concurrency => LONGEST_WINDOW,
        };
        if self.limit == 0 {
            return Err("its limit is 0, and must be at least 1");
        }
        if self.per.subsec_nanos() > 0 {
            return Err("its window is no number of whole seconds");
        }
        let per = u32::try_from(self.per.as_secs()).ok().filter(|per| i128::from(*per) <= longest);
        let Some(per @ 1..) = per else {
            return Err("its window must be from 1 to 2147483647 seconds, and half of that for a sliding window");
        };
        let limit = Limit { limit: self.limit, per };
        if !matches!(algorithm, Algorithm::Gcra { .. }) {
            return Ok((limit, algorithm));
        }
        let burst = self.burst.unwrap_or(self.limit);
        if burst == 0 {
            return Err("its burst is 0, and must be at least 1");
        }
        if u64::from(burst) * u64::from(per) > u64::from(LONGEST_REFILL) * u64::from(self.limit) {
            return Err("its burst must come back within 90 days");
        }
        Ok((limit, Algorithm::Gcra { burst }))
    }
}

/// A text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: write a rate such as \"600/minute\" or \"10 per 5 seconds\"")]
#[non_exhaustive]
pub struct ParseRateError {
    reason: &'static str,
}

/// The grammar is that of the attribute: `count [per|/] [n] [second|minute|hour|day|week|month|year][s]`, with `s`, `m`, `h` and `d` as
/// short units.
impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let error = |reason| Err(ParseRateError { reason });
        let (limit, rest) = split(text, |char| char.is_ascii_digit());
        let is_per = rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("per"));
        let Some(rest) = rest.strip_prefix('/').or_else(|| rest.get(3..).filter(|_| is_per)) else {
            return error("a `/` or `per` is missing between the limit and the window");
        };
        let (times, rest) = split(rest, |char| char.is_ascii_digit());
        let (unit, rest) = split(rest, char::is_alphabetic);
        if !rest.is_empty() {
            return error("text follows the unit");
        }
        let Some(seconds) = seconds_of(unit) else {
            return error("the unit is none of second, minute, hour, day, week, month, year");
        };
        let times = if times.is_empty() { Ok(1) } else { times.parse::<u32>() };
        let (Ok(limit), Ok(times)) = (limit.parse::<u32>(), times) else {
            return error("a number is missing or too large");
        };
        let rate = Self::new(limit, Duration::from_secs(u64::from(times) * seconds));
        rate.of(Algorithm::FixedWindow).map(|_| rate).map_err(|reason| ParseRateError { reason })
    }
}

/// Splits a text after its first characters of a kind, without the spaces around both parts.
fn split(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    let text = text.trim();
    let (head, rest) = text.split_at(text.find(|char| !kind(char)).unwrap_or(text.len()));
    (head, rest.trim())
}

/// The seconds of a unit. A month is 30 days and a year 365. Short units are in small letters, since an `M` means months elsewhere.
fn seconds_of(unit: &str) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60;
    let long = unit.to_ascii_lowercase();
    Some(match (unit, long.strip_suffix('s').unwrap_or(&long)) {
        ("s", _) | (_, "second") => 1,
        ("m", _) | (_, "minute") => 60,
        ("h", _) | (_, "hour") => 60 * 60,
        ("d", _) | (_, "day") => DAY,
        (_, "week") => 7 * DAY,
        (_, "month") => 30 * DAY,
        (_, "year") => 365 * DAY,
        _ => return None,
    })
}

/// The rate that a function returned is out of range: answered 500.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{function}` returned the rate {rate:?}, and {reason}; until it returns another, its requests are answered 500 (RL025)"
)]
pub struct RateOutOfRange {
    pub(crate) function: &'static str,
    pub(crate) rate: Rate,
    pub(crate) reason: &'static str,
}

impl RateOutOfRange {
    /// Tells the log once for each function.
    pub(crate) fn report(&self) {
        static REPORTED: Reported = Reported::by_name();
        if REPORTED.is_new(self.function) {
            log::error!("{self}");
        }
    }
}
