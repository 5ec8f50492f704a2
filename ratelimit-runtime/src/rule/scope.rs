//! Whom a rule counts.

use crate::{counter::key_part::KeyPart, rule::function::held::AskRef};

/// One part of a rule's scope, as the attribute writes it.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "written by the attribute's output only; the attribute documents each scope")]
pub enum Scope {
    Ip,
    User,
    Global,
    /// The header's name in lower case.
    Header(&'static str),
    Function(ScopeFn),
}

/// A function of users that names a counter.
#[derive(Clone, Copy)]
pub struct ScopeFn {
    /// The last segment of its path, without generics. Counters have this name, so it does not depend on the module that names the
    /// function.
    pub(crate) name: &'static str,
    /// The path as it is written.
    pub(crate) path: &'static str,
    pub(crate) function: AskRef<Option<KeyPart>>,
}

#[allow(missing_docs, reason = "written by the attribute's output only")]
impl Scope {
    #[must_use]
    pub const fn function(name: &'static str, function: AskRef<Option<KeyPart>>) -> Self {
        Self::function_at(name, name, function)
    }

    #[must_use]
    pub const fn function_at(name: &'static str, path: &'static str, function: AskRef<Option<KeyPart>>) -> Self {
        Self::Function(ScopeFn { name, path, function })
    }

    /// The scope's part in the names of counters: its kind, and the name of its header or function.
    pub(crate) fn identity(&self) -> (&'static str, &'static str) {
        match *self {
            Self::Ip => ("ip", ""),
            Self::User => ("user", ""),
            Self::Global => ("global", ""),
            Self::Header(name) => ("header", name),
            Self::Function(function) => ("fn", function.name),
        }
    }

    /// The name by which clients know the scope.
    pub(crate) fn name(&self) -> &'static str {
        match *self {
            Self::Ip => "ip",
            Self::User => "user",
            Self::Global => "global",
            Self::Header(name) => name,
            Self::Function(function) => function.name,
        }
    }
}
