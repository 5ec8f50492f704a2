//! Policies of this process that would share counters by accident.
//!
//! A counter's name must be the same in every process and under every compiler. So it consists of what is written in the program: the
//! handler's path, and the last segment of a function's path. Neither is unique. Two policies that would share counters by accident are
//! found when the second has its first request, and the log names both.

use std::{
    any::TypeId,
    fmt::{self, Display},
    panic::Location,
    sync::{Mutex, PoisonError},
};

use crate::rule::{KeySource, prepared::Prepared, scope::Scope};

/// The policies that have had a request.
static CLAIMS: Mutex<Vec<Claim>> = Mutex::new(Vec::new());

/// The counters of one policy that another policy could have, too.
struct Claim {
    handler: Handler,
    /// Whether a rule counts under the handler's path.
    has_default_key: bool,
    shared: Vec<Shared>,
}

#[derive(Clone, Copy)]
struct Handler {
    path: &'static str,
    place: &'static Location<'static>,
}

/// The counters of a rule that has a key of its own and a function in its scope.
struct Shared {
    key: SharedKey,
    /// `None`, if it depends on the request.
    per: Option<u32>,
    kind: &'static str,
    ordinal: u32,
    scope: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SharedKey {
    Named(&'static str),
    Function(TypeId),
}

#[derive(PartialEq, Eq)]
enum Part {
    /// The kind, and the name of the header.
    Plain(&'static str, &'static str),
    Function(&'static str, TypeId),
}

/// The relation between the counters of two rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// They are different, or the same because the same functions name them.
    Good,
    /// They are the same, though different functions name them.
    TwoFunctions,
    /// They are different, though the same functions name them: under other names.
    TwoNames,
}

/// Whether the policy of the handler at `place` may count. If not, the log tells why.
pub(crate) fn claim(path: &'static str, place: &'static Location<'static>, rules: &[Prepared]) -> bool {
    let claim = Claim {
        handler: Handler { path, place },
        has_default_key: rules.iter().any(|rule| matches!(rule.rule.key, KeySource::Handler)),
        shared: rules.iter().filter_map(Shared::of).collect(),
    };
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    let may_count = claims.iter().all(|earlier| claim.may_count_beside(earlier));
    if may_count {
        claims.push(claim);
    }
    may_count
}

impl Claim {
    fn may_count_beside(&self, earlier: &Self) -> bool {
        let (this, other) = (self.handler, earlier.handler);
        if self.has_default_key && earlier.has_default_key && this.path == other.path {
            log::error!(
                "{this} has the path of {other}, and would share its counters: write `key = \"…\"` in the `#[ratelimit]` of \
                 one of them; until then requests to the former are answered 500 (RL011)"
            );
            return false;
        }
        for (rule, sibling) in self.shared.iter().flat_map(|rule| earlier.shared.iter().map(move |other| (rule, other)))
        {
            match rule.relation(sibling) {
                Relation::Good => {}
                Relation::TwoFunctions => {
                    log::error!(
                        "{this} shares its counters with {other} by `key`, and their `scope` has different functions of one \
                         name: rename one of the functions, or write another `key`; until then requests to the former are \
                         answered 500 (RL012)"
                    );
                    return false;
                }
                Relation::TwoNames => log::warn!(
                    "{this} and {other} have one `key` and the same function in `scope`, under two names, and so they do not \
                     share their counters: write the same name in both (RL013)"
                ),
            }
        }
        true
    }
}

impl Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.path, self.place)
    }
}

impl Shared {
    fn of(rule: &Prepared) -> Option<Self> {
        let part = |part: &Scope| match (part, part.identity()) {
            (Scope::Function(function), (_, name)) => Part::Function(name, function.function.id()),
            (_, (kind, name)) => Part::Plain(kind, name),
        };
        let key = match rule.rule.key {
            KeySource::Handler => return None,
            KeySource::Named(name) => SharedKey::Named(name),
            KeySource::Function(_, function) => SharedKey::Function(function.id()),
        };
        let scope: Vec<Part> = rule.rule.scope.iter().map(part).collect();
        let has_function = scope.iter().any(|part| matches!(part, Part::Function(..)));
        let (per, kind) = (rule.rule.limit().map(|limit| limit.per), rule.rule.kind());
        has_function.then_some(Self { key, per, kind, ordinal: rule.ordinal, scope })
    }

    fn relation(&self, other: &Self) -> Relation {
        let base = |rule: &Self| (rule.key, rule.per, rule.kind, rule.ordinal, rule.scope.len());
        if base(self) != base(other) {
            return Relation::Good;
        }
        let (mut same_names, mut same_functions) = (true, true);
        for parts in self.scope.iter().zip(&other.scope) {
            match parts {
                (Part::Function(name, id), Part::Function(other_name, other_id)) => {
                    same_names &= name == other_name;
                    same_functions &= id == other_id;
                }
                (part, other) if part == other => {}
                _ => return Relation::Good,
            }
        }
        match (same_names, same_functions) {
            (true, false) => Relation::TwoFunctions,
            (false, true) => Relation::TwoNames,
            _ => Relation::Good,
        }
    }
}
