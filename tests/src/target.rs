//! Counters by their names, to look at them and to reset them: a policy and a subject that are made at run time.
//!
//! A program writes a `static` policy. Tests look at counters of many handlers, also at ones that no attribute can make, so they call what
//! the attribute's output calls.

use std::fmt;
use std::net::IpAddr;

use ratelimit_runtime::codegen::{self, Rule, Scope, policy};
use ratelimit_runtime::{CheckError, Policy, RateLimiter, RuleState, Subject};

/// A scope function, for [`Target::function`], by the path of the function.
#[macro_export]
macro_rules! scope_function {
    ($($function:ident)::+) => {{
        use ratelimit_runtime::codegen::{Scope, scope};
        let name = stringify!($($function)::+).rsplit(':').next().expect("a name").trim();
        (name, Scope::function(name, const { &scope($($function)::+) }))
    }};
}

/// The counter of one rule for one subject.
#[derive(Clone)]
pub struct Target {
    name: &'static str,
    has_key_function: bool,
    limit: i128,
    per: i128,
    algorithm: fn(Rule, i128) -> Rule,
    burst: i128,
    stagger: bool,
    behind: usize,
    scope: Vec<Scope>,
    subject: Subject,
}

/// Stands for the key function of a handler.
fn key_function(_: &actix_web::HttpRequest) -> String {
    String::new()
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Target {
    /// A counter of the rule `limit = …, per = …` with `key = "…"`.
    #[must_use]
    pub fn new(key: &str, limit: u32, per: u32) -> Self {
        Self {
            name: key.to_owned().leak(),
            has_key_function: false,
            limit: limit.into(),
            per: per.into(),
            algorithm: |rule, _| rule,
            burst: 0,
            stagger: false,
            behind: 0,
            scope: Vec::new(),
            subject: Subject::new(),
        }
    }

    /// A counter of a rule with a key function that returned `key`.
    #[must_use]
    pub fn given(key: &str, limit: u32, per: u32) -> Self {
        let target = Self::new("given", limit, per);
        Self { has_key_function: true, subject: target.subject.part("key", key), ..target }
    }

    /// A counter of a rule with a key function that returned an empty key for the client of this address.
    #[must_use]
    pub fn without_key(address: IpAddr, limit: u32, per: u32) -> Self {
        let target = Self::given("", limit, per);
        Self { subject: target.subject.ip(address), ..target }
    }

    /// `algorithm = "sliding-window"`
    #[must_use]
    pub fn sliding_window(self) -> Self {
        Self { algorithm: |rule, _| rule.sliding_window(), ..self }
    }

    /// `algorithm = "gcra"` with this `burst`.
    #[must_use]
    pub fn gcra(self, burst: u32) -> Self {
        Self { algorithm: Rule::gcra, burst: burst.into(), ..self }
    }

    /// `stagger = true`
    #[must_use]
    pub fn stagger(self) -> Self {
        Self { stagger: true, ..self }
    }

    /// The counter of a rule behind this many equal rules.
    #[must_use]
    pub fn behind(self, others: usize) -> Self {
        Self { behind: others, ..self }
    }

    fn part(mut self, scope: Scope, set: impl FnOnce(Subject) -> Subject) -> Self {
        self.scope.push(scope);
        Self { subject: set(self.subject), ..self }
    }

    /// `scope = "ip"`
    #[must_use]
    pub fn ip(self, address: IpAddr) -> Self {
        self.part(Scope::Ip, |subject| subject.ip(address))
    }

    /// `scope = "user"`
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.part(Scope::User, |subject| subject.user(user))
    }

    /// The client of this address without a user.
    #[must_use]
    pub fn without_user(self, address: IpAddr) -> Self {
        self.part(Scope::User, |subject| subject.user("").ip(address))
    }

    /// `scope = "global"`
    #[must_use]
    pub fn global(self) -> Self {
        self.part(Scope::Global, |subject| subject)
    }

    /// `scope = "header:…"`
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.part(Scope::Header(name.to_ascii_lowercase().leak()), |subject| subject.header(name, value))
    }

    /// The client of this address without the header.
    #[must_use]
    pub fn without_header(self, name: &str, address: IpAddr) -> Self {
        self.part(Scope::Header(name.to_ascii_lowercase().leak()), |subject| subject.header(name, "").ip(address))
    }

    /// The result of the handler's scope function.
    #[must_use]
    pub fn function(self, (name, function): (&str, Scope), value: &str) -> Self {
        self.part(function, |subject| subject.part(name, value))
    }

    /// The client of this address, for whom a scope function returned an empty text.
    #[must_use]
    pub fn without_value(self, (name, function): (&str, Scope), address: IpAddr) -> Self {
        self.part(function, |subject| subject.part(name, "").ip(address))
    }

    /// Who is counted.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The policy of the rule, behind the rules that stand before it.
    #[must_use]
    pub fn policy(&self) -> &'static Policy {
        let scope: &[Scope] = if self.scope.is_empty() { &[Scope::Global] } else { self.scope.clone().leak() };
        let rule = || {
            let rule = (self.algorithm)(Rule::new(self.limit, self.per), self.burst).scope(scope);
            let rule = if self.stagger { rule.stagger() } else { rule };
            if self.has_key_function {
                rule.key_function("key", const { &codegen::scope(key_function) })
            } else {
                rule.key(self.name)
            }
        };
        let rules: Vec<Rule> = (0..=self.behind).map(|_| rule()).collect();
        Box::leak(Box::new(policy(self.name).rules(rules.leak())))
    }

    /// Looks at the counter.
    ///
    /// # Errors
    /// Those of [`RateLimiter::peek`].
    pub async fn peek(&self, limiter: &RateLimiter) -> Result<RuleState, CheckError> {
        let state = limiter.peek(self.policy(), &self.subject).await?;
        Ok(*state.rules().last().expect("a policy has a rule"))
    }

    /// Resets the counter, and those of the rules before it.
    ///
    /// # Errors
    /// Those of [`RateLimiter::reset`].
    pub async fn reset(&self, limiter: &RateLimiter) -> Result<(), CheckError> {
        limiter.reset(self.policy(), &self.subject).await
    }
}
