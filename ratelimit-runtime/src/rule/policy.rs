//! The rules of one place: checked together, all or nothing.

use std::{fmt, panic::Location, sync::OnceLock};

use crate::rule::{Rule, claims, prepared::Prepared};

/// The rules of one place, which are checked together: a request that one rule refuses costs the others nothing.
///
/// [`policy!`](crate::policy) makes one, and a `static` holds it.
///
/// ```
/// use ratelimit_runtime::{Policy, policy};
///
/// static LOGIN: Policy = policy!("5/minute", key = "login", scope = "ip");
/// # let _ = &LOGIN;
/// ```
pub struct Policy {
    /// The handler's path, `module::function`, or the key of a `policy!`.
    name: &'static str,
    /// Where its attribute or macro stands.
    place: &'static Location<'static>,
    /// Policies whose rules come before its own.
    policies: &'static [&'static Self],
    rules: &'static [Rule],
    prepared: OnceLock<Option<Vec<Prepared>>>,
    /// The same rules for limiters that refuse nothing.
    shadow: OnceLock<Vec<Prepared>>,
}

/// Called by the macros' output: a policy without rules.
#[must_use]
#[track_caller]
pub const fn policy(name: &'static str) -> Policy {
    Policy {
        name,
        place: Location::caller(),
        policies: &[],
        rules: &[],
        prepared: OnceLock::new(),
        shadow: OnceLock::new(),
    }
}

#[doc(hidden)]
#[allow(missing_docs, reason = "called by the macros' output only")]
impl Policy {
    #[must_use]
    pub const fn policies(mut self, policies: &'static [&'static Self]) -> Self {
        self.policies = policies;
        self
    }

    #[must_use]
    pub const fn rules(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        self
    }
}

impl Policy {
    /// The handler's path, or the key of a `policy!`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The rules, ready for requests; `None` where they would share counters that they must not, which the log tells.
    pub(crate) fn prepared(&'static self) -> Option<&'static [Prepared]> {
        self.prepared.get_or_init(|| self.prepare()).as_deref()
    }

    /// As [`prepared`](Self::prepared), with rules that refuse nothing.
    pub(crate) fn prepared_for_shadow(&'static self) -> Option<&'static [Prepared]> {
        let prepared = self.prepared()?;
        Some(self.shadow.get_or_init(|| prepared.iter().map(Prepared::for_shadow).collect()))
    }

    /// How many requests a window of the first rule admits; the largest number, if that depends on the request.
    pub(crate) fn first_limit(&self) -> u32 {
        let first = self.policies.iter().flat_map(|policy| policy.rules).chain(self.rules).next();
        first.and_then(Rule::capacity).unwrap_or(u32::MAX)
    }

    fn prepare(&'static self) -> Option<Vec<Prepared>> {
        let mut prepared = Vec::new();
        for policy in self.policies {
            policy.prepare_own(&mut prepared);
        }
        self.prepare_own(&mut prepared);
        claims::claim(self.name, self.place, &prepared).then_some(prepared)
    }

    /// Adds its own rules. They count as they do where the policy is used alone, so their numbers do not depend on rules before them.
    fn prepare_own(&'static self, prepared: &mut Vec<Prepared>) {
        let first = prepared.len();
        for rule in self.rules {
            prepared.push(Prepared::new(rule, self.name, prepared, first));
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).finish_non_exhaustive()
    }
}
