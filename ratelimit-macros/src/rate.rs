//! Rates and durations as text: `"10 per second; 1000/hour"`, `"1h 30m"`.
//!
//! The rates are those of Flask-Limiter, `[count] [per|/] [n] [unit][s]`, with the short units `s`, `m`, `h` and `d`
//! added. Nothing here knows tokens: an error is a message, and [`crate::args`] knows its span.

/// The result of reading a text; the error is the message.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// The values that a number may have: from 1 to `max`.
pub(crate) struct Range {
    name: &'static str,
    max: u32,
}

pub(crate) const LIMIT: Range = Range { name: "the limit", max: u32::MAX };

pub(crate) const LEASE: Range = Range { name: "the lease", max: u32::MAX };

pub(crate) const COST: Range = Range { name: "the cost", max: u32::MAX };

pub(crate) const BURST: Range = Range { name: "the burst", max: u32::MAX };

pub(crate) const BODY_TIMEOUT: Range = Range { name: "the timeout in seconds", max: i32::MAX as u32 };

/// A store in Redis reads and writes all places of a counter at each check.
pub(crate) const CONCURRENCY: Range = Range { name: "the concurrency", max: 10_000 };

/// What a process leaves behind when it is killed is held for so long.
pub(crate) const HOLD: Range = Range { name: "the hold in seconds", max: DAY };

/// A counter of GCRA is kept for no longer, either.
pub(crate) const BLOCK: Range = Range { name: "a block in seconds", max: 90 * DAY };

/// A window lasts up to 68 years: stores keep its end in 32 bits, of which one tells the past from the future.
pub(crate) const WINDOW: Range = Range { name: "the window in seconds", max: i32::MAX as u32 };

impl Range {
    /// Reads a number from a text of digits. It must be in the range.
    pub(crate) fn parse(&self, digits: &str) -> Result<u32> {
        self.check(digits.parse().unwrap_or(u64::MAX))
    }

    fn check(&self, number: u64) -> Result<u32> {
        match u32::try_from(number) {
            Ok(0) => Err(self.too_small()),
            Ok(number) if number <= self.max => Ok(number),
            _ => Err(format!("{} must be at most {}", self.name, self.max)),
        }
    }

    pub(crate) fn too_small(&self) -> String {
        format!("{} must be at least 1", self.name)
    }
}

/// The long names, each with its seconds. A month is 30 days and a year 365.
const UNITS: [(&str, u32); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 60 * 60),
    ("day", DAY),
    ("week", 7 * DAY),
    ("month", 30 * DAY),
    ("year", 365 * DAY),
];

const DAY: u32 = 24 * 60 * 60;

/// The limit and the window, in seconds, of each of several rates: `"10/second; 1000/hour"`.
pub(crate) fn rates(text: &str) -> Result<Vec<(u32, u32)>> {
    text.split([';', ',']).map(rate).collect()
}

/// One rate: `"300/5m"`, `"10 per second"`.
fn rate(text: &str) -> Result<(u32, u32)> {
    let shape = || match text.trim() {
        "" => "a rate is missing here: write one such as \"300/5m\" or \"10 per second\"".to_owned(),
        text => format!("`{text}` is no rate: write one such as \"300/5m\" or \"10 per second\""),
    };
    let (limit, rest) = digits(text);
    let rest = rest.strip_prefix('/').or_else(|| strip_per(rest)).ok_or_else(shape)?;
    let (times, rest) = digits(rest);
    let (unit, rest) = word(rest);
    if limit.is_empty() || !rest.is_empty() {
        return Err(shape());
    }
    let times = if times.is_empty() { "1" } else { times };
    Ok((LIMIT.parse(limit)?, seconds(times, unit)?))
}

/// The seconds of a duration: `"90s"`, `"5 minutes"`, `"1h 30m"`.
pub(crate) fn duration(text: &str) -> Result<u32> {
    let shape = || format!("`{text}` is no duration: write one such as \"90s\", \"5m\" or \"1h 30m\"");
    let mut total = 0;
    let mut rest = text.trim();
    while !rest.is_empty() || total == 0 {
        let (times, after) = digits(rest);
        let (unit, after) = word(after);
        if times.is_empty() || unit.is_empty() {
            return Err(shape());
        }
        total = WINDOW.check(u64::from(total) + u64::from(seconds(times, unit)?))?;
        rest = after;
    }
    Ok(total)
}

/// The seconds of so many of a unit.
fn seconds(times: &str, unit: &str) -> Result<u32> {
    // Only the long names ignore case: an `M` means months elsewhere, and the error is better than the guess.
    let name = match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        long => &long.to_ascii_lowercase(),
    };
    let is_named = |(unit, _): &&(&str, u32)| name.strip_suffix('s').unwrap_or(name) == *unit;
    match UNITS.iter().find(is_named) {
        Some((_, seconds)) => WINDOW.check(u64::from(WINDOW.parse(times)?) * u64::from(*seconds)),
        None => {
            let problem =
                if unit.is_empty() { "a unit is missing".into() } else { format!("there is no unit `{unit}`") };
            let names = UNITS.map(|(name, _)| name).join(", ");
            Err(format!("{problem}: write one of {names}, or s, m, h, d"))
        }
    }
}

/// `per` in front of the rest, in any case.
fn strip_per(text: &str) -> Option<&str> {
    let (head, rest) = text.split_at_checked(3)?;
    head.eq_ignore_ascii_case("per").then_some(rest)
}

fn digits(text: &str) -> (&str, &str) {
    split(text, |char| char.is_ascii_digit())
}

fn word(text: &str) -> (&str, &str) {
    split(text, char::is_alphabetic)
}

/// Splits a text after its first characters of a kind. Both parts have no spaces around them.
fn split(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|char| !kind(char)).unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    (head, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_rates() {
        for (text, expected) in [
            ("300/5m", vec![(300, 300)]),
            ("1/s", vec![(1, 1)]),
            ("10/second", vec![(10, 1)]),
            ("10 per second", vec![(10, 1)]),
            ("10per5minutes", vec![(10, 300)]),
            ("  10  PER  5  Minutes ", vec![(10, 300)]),
            ("7/2 hours", vec![(7, 7200)]),
            ("7/2h", vec![(7, 7200)]),
            ("7/d", vec![(7, 86_400)]),
            ("7/week", vec![(7, 604_800)]),
            ("7/month", vec![(7, 2_592_000)]),
            ("7/year", vec![(7, 31_536_000)]),
            ("4294967295/2147483647s", vec![(LIMIT.max, WINDOW.max)]),
            ("10/second; 1000/hour", vec![(10, 1), (1000, 3600)]),
            ("10/second,1000/hour;5/day", vec![(10, 1), (1000, 3600), (5, 86_400)]),
        ] {
            assert_eq!(rates(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn bad_rates() {
        for (text, expected) in [
            ("", "a rate is missing here"),
            ("10/s;", "a rate is missing here"),
            (";10/s", "a rate is missing here"),
            ("10", "`10` is no rate"),
            ("/s", "`/s` is no rate"),
            ("per second", "`per second` is no rate"),
            ("10 second", "`10 second` is no rate"),
            ("10//s", "`10//s` is no rate"),
            ("10/s/s", "`10/s/s` is no rate"),
            ("10/1h 30m", "`10/1h 30m` is no rate"),
            ("-1/s", "`-1/s` is no rate"),
            ("1.5/s", "`1.5/s` is no rate"),
            ("10é/s", "`10é/s` is no rate"),
            ("10 éé", "`10 éé` is no rate"),
            ("١٠/s", "`١٠/s` is no rate"),
            ("10/", "a unit is missing"),
            ("10/5", "a unit is missing"),
            ("10/fortnight", "there is no unit `fortnight`: write one of second, minute"),
            ("10/M", "there is no unit `M`"),
            ("10/ss", "there is no unit `ss`"),
            ("10/été", "there is no unit `été`"),
            ("0/s", "the limit must be at least 1"),
            ("4294967296/s", "the limit must be at most 4294967295"),
            ("99999999999999999999999/s", "the limit must be at most 4294967295"),
            ("10/0s", "the window in seconds must be at least 1"),
            ("10/2147483648s", "the window in seconds must be at most 2147483647"),
            ("10/4294967295y", "there is no unit `y`"),
            ("10/4294967295 years", "the window in seconds must be at most 2147483647"),
            ("10/69 years", "the window in seconds must be at most 2147483647"),
        ] {
            let error = rates(text).err().unwrap_or_default();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn good_durations() {
        for (text, expected) in [
            ("1s", 1),
            ("90s", 90),
            ("5m", 300),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            (" 1 hour  30 minutes ", 5400),
            ("1 Day", 86_400),
            ("2 weeks", 1_209_600),
            ("2147483647s", WINDOW.max),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn bad_durations() {
        for (text, expected) in [
            ("", "`` is no duration"),
            ("90", "`90` is no duration"),
            ("m", "`m` is no duration"),
            ("1h 30", "`1h 30` is no duration"),
            ("-5m", "`-5m` is no duration"),
            ("1.5h", "`1.5h` is no duration"),
            ("5m!", "`5m!` is no duration"),
            ("1 fortnight", "there is no unit `fortnight`"),
            ("0s", "the window in seconds must be at least 1"),
            ("1h 0m", "the window in seconds must be at least 1"),
            ("2147483647s 1s", "the window in seconds must be at most 2147483647"),
            ("69 years", "the window in seconds must be at most 2147483647"),
        ] {
            let error = duration(text).err().unwrap_or_default();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
