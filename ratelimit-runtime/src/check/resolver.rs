//! Whom each rule counts, whether it counts the subject at all, and how much.

use std::any::TypeId;

use smallvec::SmallVec;

use crate::{
    check::source::Source,
    counter::{
        BaseName, Counter, Name, SubjectPart,
        address::Address,
        key_part::{self, KeyPart},
    },
    limiter::clients::Clients,
    rule::{
        Cost, KeySource, RateSource, Rule,
        algorithm::Algorithm,
        limit::Limit,
        prepared::Prepared,
        rate::{Rate, RateOutOfRange},
        scope::Scope,
    },
};

/// A subject as the rules of a policy see it. First the functions of users are asked, some of which are awaited. Their results name the
/// counters.
pub(crate) struct Resolver<'a, S> {
    clients: &'a Clients,
    source: &'a S,
    /// Boxed, since most rules ask no function.
    answers: Option<Box<Answers>>,
}

/// Identifies a function. Two policies that are checked together may write different functions with the same path, and a function pointer
/// has the type of others.
type FunctionId = (&'static str, TypeId);

/// The results of functions: each is asked once, however many rules name it.
#[derive(Default)]
struct Answers {
    /// `None`: nobody was asked. `Some(None)`: the function exempts the subject.
    user: Option<Option<KeyPart>>,
    /// Of scope and key functions; `None` exempts the subject.
    parts: Vec<(FunctionId, Option<KeyPart>)>,
    exempt: Vec<(FunctionId, bool)>,
    costs: Vec<(FunctionId, u64)>,
    /// `None` is no limit.
    rates: Vec<(FunctionId, Option<Rate>)>,
}

/// The result of a function, if it was asked.
fn find<T>(answers: &[(FunctionId, T)], id: FunctionId) -> Option<&T> {
    answers.iter().find(|(known, _)| *known == id).map(|(_, answer)| answer)
}

/// A cost that no limit has room for.
const NEVER_FITS: u64 = 1 << 33;

impl<'a, S: Source> Resolver<'a, S> {
    pub(crate) fn new(clients: &'a Clients, source: &'a S) -> Self {
        Self { clients, source, answers: None }
    }

    /// Asks for all that the rules of `policy` need to know. A function that exempts the subject from a rule ends the questions of that rule.
    pub(crate) async fn ask(
        mut self,
        policy: &'static str,
        rules: impl IntoIterator<Item = &'static Prepared>,
    ) -> Result<Self, S::Error> {
        for rule in rules {
            self.ask_for(policy, rule.rule).await?;
        }
        Ok(self)
    }

    async fn ask_for(&mut self, policy: &'static str, rule: &'static Rule) -> Result<(), S::Error> {
        if let Some((path, function)) = rule.exempt
            && self.has_method(rule)
            && find(&self.answers().exempt, (path, function.id())).is_none()
        {
            let answer = self.source.is_exempt(function).await?;
            self.answers().exempt.push(((path, function.id()), answer));
        }
        if !self.counts(rule) {
            return Ok(());
        }
        if let RateSource::Function(path, function) = rule.rate {
            let id = (path, function.id());
            if find(&self.answers().rates, id).is_none() {
                let rate = self.source.rate(path, function).await?;
                self.answers().rates.push((id, rate));
            }
            let Some(rate) = self.rate(id) else { return Ok(()) };
            rate.of(rule.algorithm).map_err(|reason| RateOutOfRange { function: path, rate, reason })?;
        }
        if !self.ask_for_scope(policy, rule).await? {
            return Ok(());
        }
        if let KeySource::Function(path, function) = rule.key {
            let id = (path, function.id());
            if find(&self.answers().parts, id).is_none() {
                let key = self.source.key(path, function).await?;
                self.keep_part(id, key)?;
            }
            if self.part(id).is_none() {
                return Ok(());
            }
        }
        if let Cost::Function(path, function) = rule.cost
            && find(&self.answers().costs, (path, function.id())).is_none()
        {
            let answer = self.source.cost(path, function).await?;
            self.answers().costs.push(((path, function.id()), answer));
        }
        Ok(())
    }

    /// Asks for all parts of a scope. `false`: a function exempts the subject.
    async fn ask_for_scope(&mut self, policy: &'static str, rule: &'static Rule) -> Result<bool, S::Error> {
        for part in rule.scope {
            match *part {
                Scope::Global => {}
                Scope::Ip => self.source.require_address()?,
                Scope::Header(name) => self.source.require_header(name)?,
                Scope::User => {
                    if self.answers().user.is_none() {
                        // An empty user is nobody, like none.
                        let user = self.source.user(self.clients, policy).await?;
                        self.answers().user = Some(user.filter(|user| !user.is_empty()));
                    }
                }
                Scope::Function(function) => {
                    let id = (function.path, function.function.id());
                    if find(&self.answers().parts, id).is_none() {
                        let part = self.source.part(function).await?;
                        self.keep_part(id, part)?;
                    }
                    if self.part(id).is_none() {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn answers(&mut self) -> &mut Answers {
        self.answers.get_or_insert_default()
    }

    /// Keeps the result of a scope or key function. The address stands in for an empty text.
    fn keep_part(&mut self, id: FunctionId, part: Option<KeyPart>) -> Result<(), S::Error> {
        let part = match part {
            Some(text) if text.is_empty() => {
                self.source.require_address()?;
                Some(KeyPart::stand_in(self.address()))
            }
            part => part,
        };
        self.answers().parts.push((id, part));
        Ok(())
    }

    /// Whether the rule counts the subject, by its method and by the answer of its exempt function.
    // Saves 31 instructions of a check.
    #[inline(always)]
    fn counts(&self, rule: &Rule) -> bool {
        let is_exempt = |id| self.answers.as_ref().and_then(|answers| find(&answers.exempt, id).copied()) == Some(true);
        self.has_method(rule) && !rule.exempt.is_some_and(|(path, function)| is_exempt((path, function.id())))
    }

    #[inline]
    fn has_method(&self, rule: &Rule) -> bool {
        rule.methods.is_empty() || self.source.has_method(rule.methods)
    }

    /// How much of the limit the subject takes under a rule whose functions were asked.
    #[inline]
    pub(crate) fn cost(&self, rule: &Rule) -> u64 {
        match rule.cost {
            Cost::Fixed(cost) => cost.into(),
            Cost::Function(path, function) => {
                let costs = self.answers.as_ref().map(|answers| &answers.costs[..]).unwrap_or_default();
                // Sums with a cost that no limit has room for stay in range.
                find(costs, (path, function.id())).copied().unwrap_or(1).min(NEVER_FITS)
            }
        }
    }

    /// The result of a scope or key function; `None` where it exempts the subject.
    fn part(&self, id: FunctionId) -> Option<&KeyPart> {
        find(&self.answers.as_ref()?.parts, id)?.as_ref()
    }

    /// The result of a rate function; `None` for no limit.
    fn rate(&self, id: FunctionId) -> Option<Rate> {
        *find(&self.answers.as_ref()?.rates, id)?
    }

    /// The limit and the algorithm of a rule; `None` for no limit.
    #[inline]
    fn limit(&self, rule: &Rule) -> Option<(Limit, Algorithm)> {
        match rule.rate {
            RateSource::Fixed(limit) => Some((limit, rule.algorithm)),
            // A rate out of range was an error before.
            RateSource::Function(path, function) => self.rate((path, function.id()))?.of(rule.algorithm).ok(),
        }
    }

    fn user(&self) -> Option<&KeyPart> {
        self.answers.as_ref()?.user.as_ref()?.as_ref()
    }

    /// The counter of a rule whose functions were asked, and what the rule admits; `None` where it does not count the subject.
    // Saves 56 instructions of a check.
    #[inline(always)]
    pub(crate) fn counter<'b>(&'b self, rule: &'static Prepared) -> Option<(Counter<'b>, Limit, Algorithm)> {
        if !self.counts(rule.rule) {
            return None;
        }
        let (limit, algorithm) = self.limit(rule.rule)?;
        let key = match rule.rule.key {
            KeySource::Handler | KeySource::Named(_) => Name::Rule(&rule.key),
            KeySource::Function(path, function) => Name::Given(self.part((path, function.id()))?),
        };
        let mut scope = SmallVec::new();
        for part in rule.rule.scope {
            scope.push(self.subject_part(part)?);
        }
        let base_hash = if rule.info.quota.is_some() { rule.base_hash } else { rule.base_hash_in(limit.per) };
        let base = BaseName { key, per: limit.per, kind: rule.rule.kind(), ordinal: rule.ordinal };
        Some((Counter { base_hash, base, scope }, limit, algorithm))
    }

    /// The subject's part under one part of a scope. The address stands in for a missing value.
    // Saves 25 instructions of a check.
    #[inline(always)]
    fn subject_part(&self, part: &Scope) -> Option<SubjectPart<'_>> {
        Some(match *part {
            Scope::Global => SubjectPart::Global,
            Scope::Ip => SubjectPart::Ip(self.address()),
            Scope::User => match self.user() {
                Some(user) => SubjectPart::User(user),
                None => SubjectPart::NoUser(self.address()),
            },
            Scope::Header(name) => match self.source.header(name) {
                [] => SubjectPart::NoHeader(name, self.address()),
                value => SubjectPart::Header(name, key_part::text(value)),
            },
            Scope::Function(function) => {
                SubjectPart::Function(function.name, self.part((function.path, function.function.id()))?)
            }
        })
    }

    #[inline]
    fn address(&self) -> Address {
        self.source.address(self.clients)
    }
}
