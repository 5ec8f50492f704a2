//! One limit of a policy, and whom it counts, as plain static data.

pub(crate) mod algorithm;
pub(crate) mod block;
pub(crate) mod charge;
pub(crate) mod claims;
pub(crate) mod function;
pub(crate) mod held;
pub(crate) mod limit;
pub(crate) mod name;
pub(crate) mod number;
pub(crate) mod on_store_error;
pub(crate) mod policy;
pub(crate) mod prepared;
pub(crate) mod rate;
pub(crate) mod reported;
pub(crate) mod scope;
pub(crate) mod terms;

use crate::{
    counter::key_part::KeyPart,
    rule::{
        algorithm::{Algorithm, gcra::LONGEST_REFILL},
        block::{Block, LONGEST_BLOCK},
        function::held::{AskRef, CountIfRef, RespondRef},
        limit::{LONGEST_HOLD, LONGEST_WINDOW, Limit, MOST_PLACES},
        on_store_error::OnStoreError,
        rate::Rate,
        scope::Scope,
    },
};

/// How much of a limit a request takes.
#[derive(Clone, Copy)]
pub(crate) enum Cost {
    Fixed(u32),
    /// The function's path as it was written, and the function. No cost is cut to fit.
    Function(&'static str, AskRef<u64>),
}

/// Which counters a rule uses: the handler's own, or those of a name that several handlers share.
#[derive(Clone, Copy)]
pub(crate) enum KeySource {
    Handler,
    Named(&'static str),
    /// The function's path as it was written, and the function.
    Function(&'static str, AskRef<Option<KeyPart>>),
}

/// The answer to a request over the limit.
#[derive(Clone, Copy)]
pub(crate) enum OverLimit {
    Reject,
    Allow,
    Function(RespondRef),
}

/// How often a rule admits.
#[derive(Clone, Copy)]
pub(crate) enum RateSource {
    Fixed(Limit),
    /// The function's path as it was written, and the function. `None` is no limit.
    Function(&'static str, AskRef<Option<Rate>>),
}

/// The body that the functions of a rule extract.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    /// The longest, in bytes.
    pub(crate) bytes: u32,
    /// How many seconds it may take to arrive.
    pub(crate) timeout: u32,
}

/// One limit of a handler, and whom it counts.
pub struct Rule {
    pub(crate) rate: RateSource,
    /// The burst of GCRA is that of the rate, if a function returns it.
    pub(crate) algorithm: Algorithm,
    /// Whether each counter has a window phase of its own.
    pub(crate) stagger: bool,
    pub(crate) scope: &'static [Scope],
    pub(crate) key: KeySource,
    pub(crate) cost: Cost,
    /// Whether the cost was written, so that the true one may replace it.
    pub(crate) is_priced: bool,
    /// Says of a response whether its request counts. Otherwise the request is refunded.
    pub(crate) count_if: Option<CountIfRef>,
    /// Says whether a request is not counted at all: the function's path, and the function.
    pub(crate) exempt: Option<(&'static str, AskRef<bool>)>,
    /// Empty for all methods.
    pub(crate) methods: &'static [&'static str],
    /// `None` for a rule that is checked before the body is read.
    pub(crate) body: Option<Body>,
    pub(crate) over_limit: OverLimit,
    /// The durations for which the rule blocks a subject that it refuses.
    pub(crate) block: Option<Block>,
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
        Self::of(RateSource::Fixed(Limit::new(limit, per)))
    }

    #[must_use]
    pub const fn with_rate(path: &'static str, function: AskRef<Option<Rate>>) -> Self {
        Self::of(RateSource::Function(path, function))
    }

    /// At most `places` requests at the same time. A place is kept for `hold` seconds, unless it is renewed.
    #[must_use]
    #[track_caller]
    pub const fn concurrency(places: i128, hold: i128) -> Self {
        assert!(places >= 1, "`concurrency` must be at least 1");
        assert!(places <= MOST_PLACES, "`concurrency` must be at most 10000");
        assert!(hold >= 1, "`hold` must be at least 1 second");
        assert!(hold <= LONGEST_HOLD, "`hold` must be at most 86400 seconds");
        let mut rule = Self::of(RateSource::Fixed(Limit::new(places, hold)));
        rule.algorithm = Algorithm::Concurrency;
        rule
    }

    const fn of(rate: RateSource) -> Self {
        Self {
            rate,
            algorithm: Algorithm::FixedWindow,
            stagger: false,
            scope: &[Scope::Ip],
            key: KeySource::Handler,
            cost: Cost::Fixed(1),
            is_priced: false,
            count_if: None,
            exempt: None,
            methods: &[],
            body: None,
            over_limit: OverLimit::Reject,
            block: None,
            x_headers: true,
            on_store_error: None,
            lease: 1,
        }
    }

    #[must_use]
    #[track_caller]
    pub const fn sliding_window(mut self) -> Self {
        if let RateSource::Fixed(limit) = self.rate {
            assert!(
                limit.per as i128 <= LONGEST_WINDOW / 2,
                "`per` of a sliding window must be at most 1073741823 seconds"
            );
        }
        self.algorithm = Algorithm::SlidingWindow;
        self
    }

    #[must_use]
    #[track_caller]
    pub const fn gcra(mut self, burst: i128) -> Self {
        assert!(burst >= 1, "`burst` must be at least 1");
        assert!(burst <= u32::MAX as i128, "`burst` must be at most 4294967295");
        if let RateSource::Fixed(Limit { limit, per }) = self.rate {
            assert!(
                burst * per as i128 <= LONGEST_REFILL as i128 * limit as i128,
                "`burst` tokens must come back within 90 days: make `burst` smaller, or the rate higher"
            );
        }
        self.algorithm = Algorithm::Gcra { burst: burst as u32 };
        self
    }

    /// For a rate that a function returns, with its own burst.
    #[must_use]
    pub const fn gcra_of_rate(mut self) -> Self {
        self.algorithm = Algorithm::Gcra { burst: 1 };
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
        self.key = KeySource::Named(name);
        self
    }

    #[must_use]
    pub const fn key_function(mut self, path: &'static str, function: AskRef<Option<KeyPart>>) -> Self {
        self.key = KeySource::Function(path, function);
        self
    }

    /// Must follow the algorithm, whose capacity is its bound.
    #[must_use]
    #[track_caller]
    pub const fn cost(mut self, cost: i128) -> Self {
        assert!(cost >= 1, "`cost` must be at least 1");
        match (self.rate, self.algorithm) {
            (RateSource::Fixed(_), Algorithm::Gcra { burst }) => {
                assert!(cost <= burst as i128, "`cost` must be at most `burst`");
            }
            (RateSource::Fixed(Limit { limit, .. }), _) => {
                assert!(cost <= limit as i128, "`cost` must be at most `limit`");
            }
            // More than the request's rate is refused.
            (RateSource::Function(..), _) => assert!(cost <= u32::MAX as i128, "`cost` must be at most 4294967295"),
        }
        self.cost = Cost::Fixed(cost as u32);
        self.is_priced = true;
        self
    }

    #[must_use]
    pub const fn cost_function(mut self, path: &'static str, function: AskRef<u64>) -> Self {
        self.cost = Cost::Function(path, function);
        self.is_priced = true;
        self
    }

    #[must_use]
    pub const fn count_if(mut self, function: CountIfRef) -> Self {
        self.count_if = Some(function);
        self
    }

    #[must_use]
    pub const fn exempt(mut self, path: &'static str, function: AskRef<bool>) -> Self {
        self.exempt = Some((path, function));
        self
    }

    #[must_use]
    pub const fn methods(mut self, methods: &'static [&'static str]) -> Self {
        self.methods = methods;
        self
    }

    #[must_use]
    pub const fn body(mut self, bytes: u32, timeout: u32) -> Self {
        self.body = Some(Body { bytes, timeout });
        self
    }

    #[must_use]
    pub const fn over_limit(mut self, function: RespondRef) -> Self {
        self.over_limit = OverLimit::Function(function);
        self
    }

    #[must_use]
    pub const fn shadow(mut self) -> Self {
        self.over_limit = OverLimit::Allow;
        self
    }

    #[must_use]
    #[track_caller]
    pub const fn block(mut self, durations: &'static [u32]) -> Self {
        let mut index = 0;
        assert!(!durations.is_empty(), "`block` must have a duration");
        while index < durations.len() {
            let is_in_range = durations[index] >= 1 && durations[index] <= LONGEST_BLOCK;
            assert!(is_in_range, "`block` must be from 1 second to 90 days");
            index += 1;
        }
        self.block = Some(Block { durations });
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

    /// Must follow the cost, since a lease holds at least one cost. 1 is no lease, whatever the cost.
    #[must_use]
    #[track_caller]
    pub const fn lease(mut self, lease: i128) -> Self {
        assert!(lease >= 1, "`lease` must be at least 1");
        match self.rate {
            RateSource::Fixed(Limit { limit, .. }) => {
                assert!(lease <= limit as i128, "`lease` must be at most `limit`")
            }
            // It is cut to the request's rate.
            RateSource::Function(..) => assert!(lease <= u32::MAX as i128, "`lease` must be at most 4294967295"),
        }
        if let Cost::Fixed(cost) = self.cost {
            assert!(lease == 1 || lease >= cost as i128, "`lease` must be at least `cost`");
        }
        self.lease = lease as u32;
        self
    }

    /// Whether it counts what runs at the same time.
    pub(crate) fn counts_places(&self) -> bool {
        self.algorithm == Algorithm::Concurrency
    }

    pub(crate) const fn refuses(&self) -> bool {
        !matches!(self.over_limit, OverLimit::Allow)
    }

    /// Whether a request may count for its address, as it does without a user or a header.
    pub(crate) fn may_count_addresses(&self) -> bool {
        self.scope.iter().any(|part| matches!(part, Scope::Ip | Scope::User | Scope::Header(_)))
    }

    /// The limit, unless a function returns it.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self.rate {
            RateSource::Fixed(limit) => Some(limit),
            RateSource::Function(..) => None,
        }
    }

    /// How much may pass at once, unless a function returns it.
    pub(crate) fn capacity(&self) -> Option<u32> {
        self.limit().map(|limit| self.algorithm.capacity(limit))
    }

    /// The algorithm's part in the names of its counters.
    pub(crate) fn kind(&self) -> &'static str {
        self.algorithm.kind(self.stagger)
    }

    /// Whether both have the same key function, or none.
    pub(crate) fn has_key_function_of(&self, other: &Self) -> bool {
        let path = |rule: &Self| match rule.key {
            KeySource::Function(path, _) => Some(path),
            KeySource::Handler | KeySource::Named(_) => None,
        };
        path(self) == path(other)
    }

    /// Whether functions of users have to be asked before it can count a request.
    pub(crate) fn asks(&self) -> bool {
        let is_function = |part: &Scope| matches!(part, Scope::User | Scope::Function(..));
        matches!(self.rate, RateSource::Function(..))
            || matches!(self.key, KeySource::Function(..))
            || matches!(self.cost, Cost::Function(..))
            || self.exempt.is_some()
            || self.body.is_some()
            || self.scope.iter().any(is_function)
    }
}
