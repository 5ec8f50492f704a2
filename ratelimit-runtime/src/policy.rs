//! What an attribute says, as plain static data. No I/O, no clock.

mod claims;
mod rule_name;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    panic::Location,
    sync::OnceLock,
};

use actix_web::http::header::HeaderValue;

use self::rule_name::{distinct, rule_name};
use crate::{
    function::{Ask, CountIf, Respond},
    key::{Family, Text, escaped},
    scope::Scope,
};

/// The longest window, in seconds (68 years): counters keep the end of their window in 32 bits, and half of
/// that range tells the past from the future.
const LONGEST_WINDOW: i128 = i32::MAX as i128;

/// The longest that GCRA may take to give all tokens back, in seconds: in nanoseconds it is a whole number that Redis's
/// Lua can hold.
pub(crate) const LONGEST_REFILL: u32 = 90 * 86400;

/// What to do with a request when the store fails or does not answer within the deadline.
///
/// Set for a whole limiter with [`RateLimiterBuilder::on_store_error`](crate::RateLimiterBuilder::on_store_error),
/// and for one rule with `on_store_error = "…"` in the attribute.
///
/// ```
/// use ratelimit_runtime::{OnStoreError, RateLimiter, ratelimit};
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let limiter = RateLimiter::builder().on_store_error(OnStoreError::Allow).connect("redis://127.0.0.1/")?;
/// # drop(limiter);
///
/// #[ratelimit("5/minute", on_store_error = "deny")]
/// async fn login() -> &'static str {
///     "not while nobody counts"
/// }
/// # let _ = login;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// Count in this process's memory until the store is back, on from what the process has seen of each counter: every
    /// process then admits up to `limit` by itself.
    #[default]
    Local,
    /// Admit the request without counting it.
    Allow,
    /// Answer `503 Service Unavailable` with `Retry-After`.
    Deny,
}

/// How many requests in how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    pub(crate) limit: u32,
    pub(crate) per: u32,
}

impl Limit {
    /// `limit` requests in a window of `per` seconds. Out of range, constant evaluation fails: both come from
    /// attributes, so this is a compile error there.
    #[must_use]
    #[track_caller]
    pub const fn new(limit: i128, per: i128) -> Self {
        assert!(limit >= 1, "`limit` must be at least 1");
        assert!(limit <= u32::MAX as i128, "`limit` must be at most 4294967295");
        assert!(per >= 1, "`per` must be at least 1 second");
        assert!(per <= LONGEST_WINDOW, "`per` must be at most 2147483647 seconds");
        Self { limit: limit as u32, per: per as u32 }
    }
}

/// How requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    FixedWindow,
    /// The counts of this window and the last, that one by the part of it that is less than a window ago.
    SlidingWindow,
    /// `limit` tokens come back in each `per`, evenly, and up to `burst` of them wait.
    Gcra {
        burst: u32,
    },
}

/// A function of the user's that is asked about a request.
pub(crate) type Asked<T> = &'static dyn Ask<T>;

/// How much of a limit a request takes.
#[derive(Clone, Copy)]
pub(crate) enum Cost {
    Fixed(u32),
    /// The function's path as it was written, and the function. Wide enough that no cost has to be cut to fit.
    Function(&'static str, Asked<u64>),
}

/// Which counters a rule uses: the handler's own, or those of a name that several handlers share.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    Handler,
    Named(&'static str),
    /// The function's path as it was written, and the function.
    Function(&'static str, Asked<Option<Text>>),
}

/// What answers a request over the limit.
#[derive(Clone, Copy)]
pub(crate) enum OverLimit {
    Reject,
    Allow,
    Function(OverLimitFn),
}

/// A function of users that answers a request over the limit.
pub(crate) type OverLimitFn = &'static dyn Respond;

/// A function of users that says of a response whether its request counts.
pub(crate) type CountIfFn = &'static dyn CountIf;

/// One limit of a handler, and whom it counts.
pub struct Rule {
    pub(crate) limit: Limit,
    pub(crate) algorithm: Algorithm,
    /// Whether each counter has a window phase of its own.
    pub(crate) stagger: bool,
    pub(crate) scope: &'static [Scope],
    pub(crate) key: Key,
    pub(crate) cost: Cost,
    /// Whether a request counts, by its response: it is given back if not.
    pub(crate) count_if: Option<CountIfFn>,
    /// Whether a request is not counted at all: the function's path, and the function.
    pub(crate) exempt: Option<(&'static str, Asked<bool>)>,
    /// None of them: all.
    pub(crate) methods: &'static [&'static str],
    pub(crate) over_limit: OverLimit,
    pub(crate) x_headers: bool,
    pub(crate) on_store_error: Option<OnStoreError>,
    /// How many tokens are taken from a shared store at once; 1 is no lease.
    pub(crate) lease: u32,
}

#[allow(missing_docs, reason = "called by the attribute's output only; the attribute documents each argument")]
impl Rule {
    #[must_use]
    #[track_caller]
    pub const fn new(limit: i128, per: i128) -> Self {
        Self {
            limit: Limit::new(limit, per),
            algorithm: Algorithm::FixedWindow,
            stagger: false,
            scope: &[Scope::Ip],
            key: Key::Handler,
            cost: Cost::Fixed(1),
            count_if: None,
            exempt: None,
            methods: &[],
            over_limit: OverLimit::Reject,
            x_headers: true,
            on_store_error: None,
            lease: 1,
        }
    }

    #[must_use]
    #[track_caller]
    pub const fn sliding_window(mut self) -> Self {
        assert!(
            self.limit.per as i128 <= LONGEST_WINDOW / 2,
            "`per` of a sliding window must be at most 1073741823 seconds"
        );
        self.algorithm = Algorithm::SlidingWindow;
        self
    }

    #[must_use]
    #[track_caller]
    pub const fn gcra(mut self, burst: i128) -> Self {
        assert!(burst >= 1, "`burst` must be at least 1");
        assert!(burst <= u32::MAX as i128, "`burst` must be at most 4294967295");
        assert!(
            burst * self.limit.per as i128 <= LONGEST_REFILL as i128 * self.limit.limit as i128,
            "`burst` tokens must come back within 90 days: make `burst` smaller, or the rate higher"
        );
        self.algorithm = Algorithm::Gcra { burst: burst as u32 };
        self
    }

    #[must_use]
    pub const fn stagger(mut self) -> Self {
        self.stagger = true;
        self
    }

    #[must_use]
    pub const fn scope(mut self, scope: &'static [Scope]) -> Self {
        self.scope = scope;
        self
    }

    #[must_use]
    pub const fn key(mut self, name: &'static str) -> Self {
        self.key = Key::Named(name);
        self
    }

    #[must_use]
    pub const fn key_function(mut self, path: &'static str, function: Asked<Option<Text>>) -> Self {
        self.key = Key::Function(path, function);
        self
    }

    /// Stands behind the algorithm, whose capacity it is held against.
    #[must_use]
    #[track_caller]
    pub const fn cost(mut self, cost: i128) -> Self {
        assert!(cost >= 1, "`cost` must be at least 1");
        match self.algorithm {
            Algorithm::Gcra { burst } => assert!(cost <= burst as i128, "`cost` must be at most `burst`"),
            _ => assert!(cost <= self.limit.limit as i128, "`cost` must be at most `limit`"),
        }
        self.cost = Cost::Fixed(cost as u32);
        self
    }

    #[must_use]
    pub const fn cost_function(mut self, path: &'static str, function: Asked<u64>) -> Self {
        self.cost = Cost::Function(path, function);
        self
    }

    #[must_use]
    pub const fn count_if(mut self, function: CountIfFn) -> Self {
        self.count_if = Some(function);
        self
    }

    #[must_use]
    pub const fn exempt(mut self, path: &'static str, function: Asked<bool>) -> Self {
        self.exempt = Some((path, function));
        self
    }

    #[must_use]
    pub const fn methods(mut self, methods: &'static [&'static str]) -> Self {
        self.methods = methods;
        self
    }

    #[must_use]
    pub const fn over_limit(mut self, function: OverLimitFn) -> Self {
        self.over_limit = OverLimit::Function(function);
        self
    }

    #[must_use]
    pub const fn shadow(mut self) -> Self {
        self.over_limit = OverLimit::Allow;
        self
    }

    #[must_use]
    pub const fn without_x_headers(mut self) -> Self {
        self.x_headers = false;
        self
    }

    #[must_use]
    pub const fn on_store_error(mut self, on_store_error: OnStoreError) -> Self {
        self.on_store_error = Some(on_store_error);
        self
    }

    /// Stands behind the cost, of which it must hold one. 1 is no lease, whatever the cost.
    #[must_use]
    #[track_caller]
    pub const fn lease(mut self, lease: i128) -> Self {
        assert!(lease >= 1, "`lease` must be at least 1");
        assert!(lease <= self.limit.limit as i128, "`lease` must be at most `limit`");
        if let Cost::Fixed(cost) = self.cost {
            assert!(lease == 1 || lease >= cost as i128, "`lease` must be at least `cost`");
        }
        self.lease = lease as u32;
        self
    }

    pub(crate) const fn refuses(&self) -> bool {
        !matches!(self.over_limit, OverLimit::Allow)
    }

    /// Whether a request may count for the address that it came from: for those without a user or a header, too.
    pub(crate) fn may_count_addresses(&self) -> bool {
        self.scope.iter().any(|part| matches!(part, Scope::Ip | Scope::User | Scope::Header(_)))
    }

    fn family(&self, key: &str) -> Family {
        // A key that a function gives is another for each request.
        let key = (!matches!(self.key, Key::Function(..))).then_some(key);
        family(self.limit.per, self.kind(), key, self.scope.iter().map(Scope::identity))
    }

    /// How much may pass at once.
    pub(crate) fn capacity(&self) -> u32 {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.limit.limit,
            Algorithm::Gcra { burst } => burst,
        }
    }

    /// In how many seconds that comes back.
    pub(crate) fn refill(&self) -> u32 {
        let Limit { limit, per } = self.limit;
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => per,
            Algorithm::Gcra { burst } => {
                let seconds = (u64::from(burst) * u64::from(per)).div_ceil(limit.into());
                u32::try_from(seconds).unwrap_or(u32::MAX)
            }
        }
    }

    /// What tells its counters from those of other algorithms.
    pub(crate) fn kind(&self) -> &'static str {
        kind(self.algorithm, self.stagger)
    }

    /// Whether both have the same key function, or none.
    fn has_key_function_of(&self, other: &Self) -> bool {
        let path = |rule: &Self| match rule.key {
            Key::Function(path, _) => Some(path),
            Key::Handler | Key::Named(_) => None,
        };
        path(self) == path(other)
    }

    fn asks(&self) -> bool {
        let is_function = |part: &Scope| matches!(part, Scope::User | Scope::Function(..));
        matches!(self.key, Key::Function(..))
            || matches!(self.cost, Cost::Function(..))
            || self.exempt.is_some()
            || self.scope.iter().any(is_function)
    }

    fn name(&self) -> String {
        rule_name(self.scope.iter().map(Scope::name), self.limit)
    }
}

/// What the program says of counters, hashed. Clients have no part in it, so this much needs no secret.
pub(crate) fn family<'a>(
    per: u32,
    kind: &str,
    key: Option<&str>,
    scope: impl Iterator<Item = (&'a str, &'a str)>,
) -> Family {
    let mut hasher = DefaultHasher::new();
    (per, kind, key).hash(&mut hasher);
    scope.for_each(|part| part.hash(&mut hasher));
    Family::new(hasher.finish())
}

/// The algorithm's part in the names of counters.
pub(crate) fn kind(algorithm: Algorithm, stagger: bool) -> &'static str {
    match (algorithm, stagger) {
        (Algorithm::FixedWindow, false) => "",
        (Algorithm::FixedWindow, true) => "-staggered",
        (Algorithm::SlidingWindow, false) => "-sliding",
        (Algorithm::SlidingWindow, true) => "-sliding-staggered",
        (Algorithm::Gcra { .. }, _) => "-gcra",
    }
}

/// All rules of one handler: checked together, all or nothing.
pub struct Policy {
    /// The handler's path, `module::function`.
    path: &'static str,
    /// Where its attribute stands.
    place: &'static Location<'static>,
    rules: &'static [Rule],
    prepared: OnceLock<Option<Vec<Prepared>>>,
}

/// A rule with what is worked out of it once, at the handler's first request.
pub(crate) struct Prepared {
    pub(crate) rule: &'static Rule,
    /// The handler's path, or the name that it was given in its place, escaped; of no meaning where a function gives the key.
    pub(crate) key: String,
    /// What all counters of the rule have in common.
    pub(crate) family: Family,
    /// Tells its counters from those of the rules before it that are alike.
    pub(crate) ordinal: u32,
    /// Whether functions of users have to be asked whom it counts.
    pub(crate) asks: bool,
    /// What clients know the rule by.
    pub(crate) name: String,
    /// The limit as text, for headers. Its bytes are static, so that workers do not share a count of its clones.
    pub(crate) limit: HeaderValue,
}

#[allow(missing_docs, reason = "called by the attribute's output only")]
impl Policy {
    #[must_use]
    #[track_caller]
    pub const fn new(path: &'static str, rules: &'static [Rule]) -> Self {
        Self { path, place: Location::caller(), rules, prepared: OnceLock::new() }
    }

    /// The handler's path.
    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// The rules, ready for requests; `None` where they would share counters that they must not, which the log tells.
    pub(crate) fn prepared(&'static self) -> Option<&'static [Prepared]> {
        self.prepared.get_or_init(|| self.prepare()).as_deref()
    }

    /// How many requests a window of the first rule admits.
    pub(crate) fn first_limit(&self) -> u32 {
        self.rules.first().map_or(0, Rule::capacity)
    }

    fn prepare(&'static self) -> Option<Vec<Prepared>> {
        let mut prepared: Vec<Prepared> = Vec::with_capacity(self.rules.len());
        for rule in self.rules {
            let key = match rule.key {
                // Whether `module_path!()` writes the `r#` of a raw name is up to the compiler.
                Key::Handler => escaped(&self.path.replace("r#", "")),
                Key::Named(name) | Key::Function(name, _) => escaped(name),
            };
            let name = distinct(rule.name(), prepared.iter().map(|other| other.name.as_str()));
            let family = rule.family(&key);
            let is_alike = |other: &&Prepared| other.family == family && other.rule.has_key_function_of(rule);
            let alike = prepared.iter().filter(is_alike).count();
            prepared.push(Prepared {
                rule,
                key,
                family,
                ordinal: u32::try_from(alike).unwrap_or(u32::MAX),
                asks: rule.asks(),
                name,
                limit: HeaderValue::from_static(rule.capacity().to_string().leak()),
            });
        }
        claims::claim(self.path, self.place, &prepared).then_some(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_keeps_its_whole_range() {
        let limit = Limit::new(u32::MAX.into(), LONGEST_WINDOW);
        assert_eq!((limit.limit, limit.per), (u32::MAX, i32::MAX as u32));
    }
}
