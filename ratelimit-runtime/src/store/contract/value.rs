//! The contents of a counter as a text.

use std::{fmt, time::Duration};

use smallvec::SmallVec;

use crate::rule::{
    algorithm::Algorithm,
    block::BlockState,
    held::{Held, HeldBucket, HeldPlace},
    limit::Limit,
    rate::Rate,
};

/// The contents of a counter in a [`Store`](crate::Store): a text of printable ASCII characters, which only the limiter reads.
///
/// Under a limit of rates it has at most 250 bytes. A rule of `concurrency` needs up to 28 bytes for each request that runs at the same
/// time.
///
/// ```
/// use ratelimit_runtime::Value;
///
/// assert_eq!(Value::from_bytes(b"window 300 7").as_str(), "window 300 7");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(String);

impl Value {
    /// A value that the store has read. [`Operation::apply`](crate::Operation::apply) reports bytes that no limiter has written.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // Bytes that are not UTF-8 do not become a value by this.
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text to keep.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of a fixed window that ends at `window_end`, in seconds since the Unix epoch, and of which `used` tokens are taken.
    ///
    /// A store with a command that counts windows converts between its numbers and values: see
    /// [`Operation::increment`](crate::Operation::increment).
    ///
    /// ```
    /// use ratelimit_runtime::Value;
    ///
    /// assert_eq!(Value::window(300, 7).as_window(), Some((300, 7)));
    /// ```
    #[must_use]
    pub fn window(window_end: u64, used: u32) -> Self {
        Self::new(&Held::Window { used, end: window_end })
    }

    /// The end of a fixed window, in seconds since the Unix epoch, and how many tokens are taken; `None` for values of other algorithms.
    #[must_use]
    pub fn as_window(&self) -> Option<(u64, u32)> {
        match self.read() {
            Some(Held::Window { used, end }) => Some((end, used)),
            _ => None,
        }
    }

    pub(super) fn new(held: &Held) -> Self {
        let text = match held {
            Held::Window { used, end } => format!("window {end} {used}"),
            Held::Windows { used, before, end } => format!("windows {end} {used} {before}"),
            Held::Buckets(buckets) => buckets.iter().fold("buckets".to_owned(), |text, bucket| {
                let HeldBucket { limit: Limit { limit, per }, burst, arrival, is_overdrawn } = bucket;
                format!("{text} {limit}/{per}/{burst}/{arrival}{}", if *is_overdrawn { "!" } else { "" })
            }),
            Held::Places(places) => {
                let written = |text, place: &HeldPlace| format!("{text} {:016x}/{}", place.name, place.ends);
                places.iter().fold("places".to_owned(), written)
            }
        };
        Self(text)
    }

    pub(super) fn of_block(BlockState { until, level }: BlockState) -> Self {
        Self(format!("block {until} {level}"))
    }

    /// `None` for a text that is no block.
    pub(super) fn read_block(&self) -> Option<BlockState> {
        let (until, level) = self.0.strip_prefix("block ")?.split_once(' ')?;
        Some(BlockState { until: time(until)?, level: level.parse().ok()? })
    }

    /// `None` for a text that no limiter has written.
    pub(super) fn read(&self) -> Option<Held> {
        let mut words = self.0.split(' ');
        let kind = words.next()?;
        let held = match kind {
            "window" => Held::Window { end: time(words.next()?)?, used: words.next()?.parse().ok()? },
            "windows" => Held::Windows {
                end: time(words.next()?)?,
                used: words.next()?.parse().ok()?,
                before: words.next()?.parse().ok()?,
            },
            "buckets" => Held::Buckets(words.by_ref().map(bucket).collect::<Option<SmallVec<_>>>()?),
            "places" => Held::Places(words.by_ref().map(place).collect::<Option<_>>()?),
            _ => return None,
        };
        words.next().is_none().then_some(held)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The latest time that a value may name, in seconds since the epoch: in the year 2286. Sums with it cannot overflow.
pub(super) const LATEST: u64 = 9_999_999_999;

fn time(text: &str) -> Option<u64> {
    text.parse().ok().filter(|seconds| *seconds <= LATEST)
}

fn bucket(text: &str) -> Option<HeldBucket> {
    let (text, is_overdrawn) = match text.strip_suffix('!') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut parts = text.split('/');
    let (limit, per) = (parts.next()?.parse().ok()?, parts.next()?.parse::<u32>().ok()?);
    let (burst, arrival) = (parts.next()?.parse().ok()?, parts.next()?.parse::<u64>().ok()?);
    let rate = Rate::new(limit, Duration::from_secs(per.into())).burst(burst);
    let (limit, _) = rate.of(Algorithm::Gcra { burst }).ok()?;
    (parts.next().is_none() && arrival / 1_000_000_000 <= LATEST).then_some(HeldBucket {
        limit,
        burst,
        arrival,
        is_overdrawn,
    })
}

fn place(text: &str) -> Option<HeldPlace> {
    let (name, ends) = text.split_once('/')?;
    Some(HeldPlace { name: u64::from_str_radix(name, 16).ok()?, ends: time(ends)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let limit = Limit { limit: 10, per: 60 };
        let bucket = HeldBucket { limit, burst: 20, arrival: 1_700_000_000_123_456_789, is_overdrawn: true };
        let buckets = [bucket, HeldBucket { is_overdrawn: false, ..bucket }].into_iter().collect();
        let place = |name, ends| HeldPlace { name, ends };
        for held in [
            Held::Window { used: u32::MAX, end: 300 },
            Held::Windows { used: 1, before: 2, end: LATEST },
            Held::Buckets(buckets),
            Held::Places(vec![place(u64::MAX, 60), place(1, 61)]),
        ] {
            assert_eq!(Value::new(&held).read(), Some(held));
        }
    }

    #[test]
    fn a_text_that_no_limiter_has_written_is_none() {
        for text in [
            "",
            "7",
            "window",
            "window 300",
            "window 300 -1",
            "window 300 4294967296",
            "window 300 7 8",
            "window 99999999999 7",
            "windows 300 7",
            "buckets 0/60/1/1",
            "buckets 1/60/0/1",
            "buckets 1/60/1/18446744073709551615",
            "buckets 1/60/1/1/1",
            "places 1",
            "places x/1",
        ] {
            assert_eq!(Value::from_bytes(text.as_bytes()).read(), None, "{text}");
        }
    }
}
