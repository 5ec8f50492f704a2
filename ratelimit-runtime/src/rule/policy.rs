//! All rules of one place: checked together, all or nothing.

use std::{panic::Location, sync::OnceLock};

use crate::rule::{Rule, claims, prepared::Prepared};

/// All rules of one handler: checked together, all or nothing.
pub struct Policy {
    /// The handler's path, `module::function`.
    path: &'static str,
    /// Where its attribute stands.
    place: &'static Location<'static>,
    rules: &'static [Rule],
    prepared: OnceLock<Option<Vec<Prepared>>>,
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
        let mut prepared = Vec::with_capacity(self.rules.len());
        for rule in self.rules {
            prepared.push(Prepared::new(rule, self.path, &prepared));
        }
        claims::claim(self.path, self.place, &prepared).then_some(prepared)
    }
}
