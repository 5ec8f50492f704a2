//! A counter as an administrator names it: to look at it, or to reset it.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::{
    counter::{
        Counter, Name, Stem, SubjectPart,
        key_part::{KeyPart, escaped},
    },
    decision::outcome::Outcome,
    limiter::clients::Clients,
    rule::{
        algorithm::{Algorithm, gcra::LONGEST_REFILL},
        limit::{LONGEST_WINDOW, Limit},
        prepared::family,
        terms::Terms,
    },
    store::Hit,
};

/// Names a counter, for [`RateLimiter::peek`](crate::RateLimiter::peek) and
/// [`RateLimiter::reset`](crate::RateLimiter::reset): the same key, limit, window, algorithm and scope as in an attribute.
///
/// ```
/// use ratelimit_runtime::{LimitTarget, ratelimit};
///
/// #[ratelimit(limit = 5, per = 60, key = "login", scope = "ip")]
/// async fn login() -> &'static str {
///     "five attempts a minute"
/// }
///
/// let attempts = LimitTarget::new("login", 5, 60).ip([192, 0, 2, 60].into());
/// # let _ = (login, attempts);
/// ```
///
/// A rule without `key = "…"` has the path of its handler, `module::function`. A scope of several parts is named part by
/// part, in the order of the attribute; without any part, it is `scope = "global"`.
#[derive(Clone, Debug)]
pub struct LimitTarget {
    key: Key,
    limit: Limit,
    algorithm: Algorithm,
    stagger: bool,
    ordinal: u32,
    scope: SmallVec<[Part; 1]>,
}

#[derive(Clone, Debug)]
enum Key {
    Literal(String),
    Given(Value),
}

/// As in an attribute, with whom it counts.
#[derive(Clone, Debug)]
enum Part {
    Ip(IpAddr),
    User(KeyPart),
    NoUser(IpAddr),
    Global,
    /// The header's name in lower case.
    Header(String, KeyPart),
    NoHeader(String, IpAddr),
    /// The function's name.
    Function(String, Value),
}

/// What a function gave.
#[derive(Clone, Debug)]
struct Value {
    text: KeyPart,
    /// The client to whom it gave an empty text. What stands in for that depends on the limiter, by which addresses are counted.
    missing: Option<IpAddr>,
}

impl Value {
    fn of(text: &str) -> Self {
        Self { text: KeyPart::from_bytes(text.as_bytes()), missing: None }
    }

    fn missing(address: IpAddr) -> Self {
        Self { text: KeyPart::from_bytes(b""), missing: Some(address) }
    }

    fn resolve(&mut self, clients: &Clients) {
        if let Some(address) = self.missing {
            self.text = KeyPart::stand_in(clients.ip.counted(address));
        }
    }
}

impl LimitTarget {
    /// A counter of the rule `limit = …, per = …` with `key = "…"`. The ranges are those of the attribute: `limit` is at least 1, and
    /// `per` is from 1 to 2147483647 seconds. Outside of them, there is no counter to find, and
    /// [`peek`](crate::RateLimiter::peek) and [`reset`](crate::RateLimiter::reset) fail with [`CheckError::Target`].
    #[must_use]
    pub fn new(key: &'static str, limit: u32, per: u32) -> Self {
        Self::with(Key::Literal(escaped(key)), limit, per)
    }

    /// A counter of a rule with a key function that gave `key`.
    #[must_use]
    pub fn given(key: &str, limit: u32, per: u32) -> Self {
        Self::with(Key::Given(Value::of(key)), limit, per)
    }

    /// A counter of a rule with a key function that gave an empty key to the client of this address.
    #[must_use]
    pub fn without_key(address: IpAddr, limit: u32, per: u32) -> Self {
        Self::with(Key::Given(Value::missing(address)), limit, per)
    }

    fn with(key: Key, limit: u32, per: u32) -> Self {
        let limit = Limit { limit, per };
        Self { key, limit, algorithm: Algorithm::FixedWindow, stagger: false, ordinal: 0, scope: SmallVec::new() }
    }

    /// `algorithm = "sliding-window"`
    #[must_use]
    pub fn sliding_window(mut self) -> Self {
        self.algorithm = Algorithm::SlidingWindow;
        self
    }

    /// `algorithm = "gcra"` with this `burst`, which comes back within 90 days.
    #[must_use]
    pub fn gcra(mut self, burst: u32) -> Self {
        self.algorithm = Algorithm::Gcra { burst };
        self
    }

    /// Whether an attribute can have its numbers.
    pub(crate) fn check(&self) -> Result<(), CheckError> {
        let Limit { limit, per } = self.limit;
        let longest = match self.algorithm {
            Algorithm::SlidingWindow => LONGEST_WINDOW / 2,
            Algorithm::FixedWindow | Algorithm::Gcra { .. } => LONGEST_WINDOW,
        };
        let refill = |burst: u32| u64::from(burst) * u64::from(per);
        let reason = match self.algorithm {
            _ if limit == 0 => "`limit` must be at least 1",
            _ if per == 0 => "`per` must be at least 1 second",
            Algorithm::SlidingWindow if i128::from(per) > longest => {
                "`per` of a sliding window must be at most 1073741823 seconds"
            }
            _ if i128::from(per) > longest => "`per` must be at most 2147483647 seconds",
            Algorithm::Gcra { burst: 0 } => "`burst` must be at least 1",
            Algorithm::Gcra { burst } if refill(burst) > u64::from(LONGEST_REFILL) * u64::from(limit) => {
                "`burst` tokens must come back within 90 days"
            }
            _ => return Ok(()),
        };
        Err(CheckError::Target { reason })
    }

    /// `stagger = true`
    #[must_use]
    pub fn stagger(mut self) -> Self {
        self.stagger = true;
        self
    }

    /// Of several rules of one handler that are alike but for their limits, the one behind so many others; 0 unless set.
    #[must_use]
    pub fn behind(mut self, others: u32) -> Self {
        self.ordinal = others;
        self
    }

    /// `scope = "ip"`: the client of this address, or of its network where IPv6 addresses are counted so.
    #[must_use]
    pub fn ip(self, address: IpAddr) -> Self {
        self.part(Part::Ip(address))
    }

    /// `scope = "user"`
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.part(Part::User(KeyPart::from_bytes(user.as_bytes())))
    }

    /// `scope = "user"`, of the client of this address while it is no user.
    #[must_use]
    pub fn without_user(self, address: IpAddr) -> Self {
        self.part(Part::NoUser(address))
    }

    /// `scope = "global"`
    #[must_use]
    pub fn global(self) -> Self {
        self.part(Part::Global)
    }

    /// `scope = "header:…"`, with the header's name and its value.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.part(Part::Header(name.to_ascii_lowercase(), KeyPart::from_bytes(value.trim_ascii().as_bytes())))
    }

    /// `scope = "header:…"`, of the client of this address without the header or with an empty one.
    ///
    /// ```
    /// use ratelimit_runtime::LimitTarget;
    ///
    /// // Of `#[ratelimit(limit = 5, per = 60, key = "search", scope = "header:X-Api-Key")]`.
    /// let without_a_key = LimitTarget::new("search", 5, 60).without_header("x-api-key", [192, 0, 2, 60].into());
    /// # let _ = without_a_key;
    /// ```
    #[must_use]
    pub fn without_header(self, name: &str, address: IpAddr) -> Self {
        self.part(Part::NoHeader(name.to_ascii_lowercase(), address))
    }

    /// `scope = function`: the function's name as it stands in the attribute, and what the function gives.
    ///
    /// ```
    /// use ratelimit_runtime::LimitTarget;
    ///
    /// // Of `#[ratelimit(limit = 5, per = 60, key = "search", scope = auth::tenant)]`.
    /// let acme = LimitTarget::new("search", 5, 60).function("tenant", "acme");
    /// # let _ = acme;
    /// ```
    #[must_use]
    pub fn function(self, name: &str, value: &str) -> Self {
        self.part(Part::Function(last_segment(name), Value::of(value)))
    }

    /// `scope = function`, where the function gave an empty text to the client of this address.
    #[must_use]
    pub fn without_value(self, name: &str, address: IpAddr) -> Self {
        self.part(Part::Function(last_segment(name), Value::missing(address)))
    }

    fn part(mut self, part: Part) -> Self {
        self.scope.push(part);
        self
    }

    /// The target for a limiter, which counts addresses in its own way.
    pub(crate) fn resolved(&self, clients: &Clients) -> Self {
        let mut target = self.clone();
        if let Key::Given(value) = &mut target.key {
            value.resolve(clients);
        }
        for part in &mut target.scope {
            if let Part::Function(_, value) = part {
                value.resolve(clients);
            }
        }
        target
    }

    /// A hit that costs nothing, and its counter, of a target that is [resolved](Self::resolved).
    pub(crate) fn hit(&self, clients: &Clients) -> (Hit, Counter<'_>) {
        let counter = self.counter(clients);
        let phase = if self.stagger { counter.phase() } else { 0 };
        let terms = Terms { limit: self.limit, algorithm: self.algorithm, phase, cost: 0 };
        let hit = Hit { hash: counter.hash(), terms, refuses: false, lease: 1, on_store_error: None };
        (hit, counter)
    }

    fn counter(&self, clients: &Clients) -> Counter<'_> {
        let kind = self.algorithm.kind(self.stagger);
        let (key, literal) = match &self.key {
            Key::Literal(key) => (Name::Target(key), Some(key.as_str())),
            Key::Given(value) => (Name::Given(&value.text), None),
        };
        // A counter counts somebody: without a part that says whom, everybody.
        let scope = if self.scope.is_empty() { &[Part::Global][..] } else { &self.scope[..] };
        let parts = scope.iter().map(|part| match part {
            Part::Ip(_) => ("ip", ""),
            Part::User(_) | Part::NoUser(_) => ("user", ""),
            Part::Global => ("global", ""),
            Part::Header(name, _) | Part::NoHeader(name, _) => ("header", name.as_str()),
            Part::Function(name, _) => ("fn", name.as_str()),
        });
        let family = family(self.limit.per, kind, literal, parts);
        let who = |part| match part {
            &Part::Ip(address) => SubjectPart::Ip(clients.ip.counted(address)),
            Part::User(text) => SubjectPart::User(text),
            &Part::NoUser(address) => SubjectPart::NoUser(clients.ip.counted(address)),
            Part::Global => SubjectPart::Global,
            Part::Header(name, text) => SubjectPart::Header(name, text.as_str().into()),
            Part::NoHeader(name, address) => SubjectPart::NoHeader(name, clients.ip.counted(*address)),
            Part::Function(function, value) => SubjectPart::Function(function, &value.text),
        };
        let scope = scope.iter().map(who).collect();
        Counter { family, stem: Stem { key, per: self.limit.per, kind, ordinal: self.ordinal }, scope }
    }
}

/// The name of a function in keys, of its path.
fn last_segment(path: &str) -> String {
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

/// What a counter holds, as [`RateLimiter::peek`](crate::RateLimiter::peek) found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    limit: u32,
    remaining: u32,
    reset: u64,
}

impl Peek {
    pub(crate) fn new(terms: &Terms, outcome: Outcome) -> Self {
        Self { limit: terms.capacity(), remaining: outcome.remaining, reset: outcome.reset }
    }

    /// How many requests a window admits; with `algorithm = "gcra"`, how many may come at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// How many more are admitted now.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// When the window ends, or all tokens of GCRA are back, in seconds since the Unix epoch by the store's clock.
    #[must_use]
    pub fn reset_at(&self) -> u64 {
        self.reset
    }
}

/// Why there is no answer about a counter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The store did not answer within the deadline, or with an error that the log tells.
    #[error("the rate limit store does not answer; the log says why")]
    StoreUnavailable,
    /// The target has a number that no attribute can have.
    #[non_exhaustive]
    #[error("the target is no counter of an attribute: {reason}")]
    Target {
        /// Which number, and its range.
        reason: &'static str,
    },
}

#[cfg(feature = "redis")]
impl From<crate::store::redis::failure::StoreFailed> for CheckError {
    fn from(_: crate::store::redis::failure::StoreFailed) -> Self {
        Self::StoreUnavailable
    }
}
