//! The subject of a check: whom each rule counts, whether it counts the request, and how much.

use actix_web::{Error, HttpRequest};
use smallvec::SmallVec;

use crate::{
    counter::{
        Counter, Name, Stem, SubjectPart,
        address::Address,
        key_part::{self, KeyPart},
    },
    limiter::clients::Clients,
    rule::{
        Cost, KeySource, Rule,
        function::answer::Answer,
        prepared::Prepared,
        scope::{Scope, ScopeFn},
    },
};

/// A request as the rules of its policy see it. First the functions of users are asked, some of which are awaited; with their
/// answers at hand, the counters are named.
pub(crate) struct Subject<'a> {
    clients: &'a Clients,
    request: &'a HttpRequest,
    /// Boxed, since most rules ask no function.
    answers: Option<Box<Answers>>,
}

/// The answers of functions, by their paths: each is asked once, however many rules name it.
#[derive(Default)]
struct Answers {
    /// Of scope and key functions; `None` exempts the request.
    parts: Vec<(&'static str, Option<KeyPart>)>,
    exempt: Vec<(&'static str, bool)>,
    costs: Vec<(&'static str, u64)>,
}

impl Answers {
    fn exempt(&self, path: &str) -> Option<bool> {
        find(&self.exempt, path).copied()
    }

    fn cost(&self, path: &str) -> Option<u64> {
        find(&self.costs, path).copied()
    }
}

/// The answer of the function of a path, if it was asked.
fn find<'a, T>(answers: &'a [(&'static str, T)], path: &str) -> Option<&'a T> {
    answers.iter().find(|(known, _)| *known == path).map(|(_, answer)| answer)
}

/// A cost that no limit has room for.
const NEVER_FITS: u64 = 1 << 33;

/// Stands for the user function among the paths of others. No path looks like this.
const USER: &str = "\"user\"";

impl<'a> Subject<'a> {
    pub(crate) fn new(clients: &'a Clients, request: &'a HttpRequest) -> Self {
        Self { clients, request, answers: None }
    }

    /// Asks the functions that the rules of `handler` name. A function that exempts the request from a rule ends the questions of that
    /// rule.
    pub(crate) async fn ask(mut self, handler: &'static str, rules: &'static [Prepared]) -> Result<Self, Error> {
        'rules: for rule in rules {
            if let Some((path, function)) = rule.rule.exempt
                && self.has_method(rule.rule)
                && self.answers().exempt(path).is_none()
            {
                let answer = function.ask(self.request).get().await?;
                self.answers().exempt.push((path, answer));
            }
            if !self.counts(rule.rule) {
                continue;
            }
            for part in rule.rule.scope {
                match *part {
                    Scope::Global | Scope::Ip | Scope::Header(_) => {}
                    Scope::User => self.ask_user(handler).await?,
                    Scope::Function(ScopeFn { path, function, .. }) => {
                        self.ask_function(path, |request| function.ask(request)).await?;
                        if self.given(path).is_none() {
                            continue 'rules;
                        }
                    }
                }
            }
            if let KeySource::Function(path, function) = rule.rule.key {
                self.ask_function(path, |request| function.ask(request)).await?;
                if self.given(path).is_none() {
                    continue;
                }
            }
            if let Cost::Function(path, function) = rule.rule.cost
                && self.answers().cost(path).is_none()
            {
                let answer = function.ask(self.request).get().await?;
                self.answers().costs.push((path, answer));
            }
        }
        Ok(self)
    }

    fn answers(&mut self) -> &mut Answers {
        self.answers.get_or_insert_default()
    }

    /// Whether the rule counts the request, by its method and by the answer of its exempt function.
    // Saves 31 instructions of a check.
    #[inline(always)]
    fn counts(&self, rule: &Rule) -> bool {
        let is_exempt = |path| self.answers.as_ref().and_then(|answers| answers.exempt(path)) == Some(true);
        self.has_method(rule) && !rule.exempt.is_some_and(|(path, _)| is_exempt(path))
    }

    fn has_method(&self, rule: &Rule) -> bool {
        rule.methods.is_empty() || rule.methods.contains(&self.request.method().as_str())
    }

    /// How much of the limit the request takes under a rule whose functions were asked.
    #[inline]
    pub(crate) fn cost(&self, rule: &Rule) -> u64 {
        match rule.cost {
            Cost::Fixed(cost) => cost.into(),
            Cost::Function(path, _) => {
                let cost = self.answers.as_ref().and_then(|answers| answers.cost(path));
                // Sums with a cost that no limit has room for stay in range.
                cost.unwrap_or(1).min(NEVER_FITS)
            }
        }
    }

    /// Within one handler, a path is one function.
    async fn ask_function(
        &mut self,
        path: &'static str,
        function: impl Fn(&HttpRequest) -> Answer<Option<KeyPart>>,
    ) -> Result<(), Error> {
        if find(&self.answers().parts, path).is_none() {
            let given = match function(self.request).get().await? {
                // A request without a user counts for its address, and so does one whose function returned nothing.
                Some(text) if text.is_empty() => (path != USER).then(|| KeyPart::stand_in(self.ip())),
                given => given,
            };
            self.answers().parts.push((path, given));
        }
        Ok(())
    }

    async fn ask_user(&mut self, handler: &'static str) -> Result<(), Error> {
        let clients = self.clients;
        let Some(function) = &clients.user else {
            let error = NoUserFunction { handler };
            clients.reported.call_once(|| log::error!("{error}"));
            return Err(error.into());
        };
        self.ask_function(USER, function).await
    }

    /// The answer of the scope or key function written as `path`; `None` where it exempts the request.
    fn given(&self, path: &str) -> Option<&KeyPart> {
        find(&self.answers.as_ref()?.parts, path)?.as_ref()
    }

    /// The counter of a rule whose functions were asked; `None` where it does not count the request.
    // Saves 56 instructions of a check.
    #[inline(always)]
    pub(crate) fn counter<'b>(&'b self, rule: &'static Prepared) -> Option<Counter<'b>> {
        if !self.counts(rule.rule) {
            return None;
        }
        let key = match rule.rule.key {
            KeySource::Handler | KeySource::Named(_) => Name::Rule(&rule.key),
            KeySource::Function(path, _) => Name::Given(self.given(path)?),
        };
        let mut scope = SmallVec::new();
        for part in rule.rule.scope {
            scope.push(self.who(part)?);
        }
        Some(Counter {
            family: rule.family,
            stem: Stem { key, per: rule.rule.limit.per, kind: rule.rule.kind(), ordinal: rule.ordinal },
            scope,
        })
    }

    /// The part of the subject under one part of a scope. The address stands in for a missing value.
    // Saves 25 instructions of a check.
    #[inline(always)]
    fn who(&self, part: &Scope) -> Option<SubjectPart<'_>> {
        Some(match *part {
            Scope::Global => SubjectPart::Global,
            Scope::Ip => SubjectPart::Ip(self.ip()),
            Scope::User => match self.given(USER) {
                Some(user) => SubjectPart::User(user),
                None => SubjectPart::NoUser(self.ip()),
            },
            Scope::Header(name) => match self.header(name) {
                [] => SubjectPart::NoHeader(name, self.ip()),
                value => SubjectPart::Header(name, key_part::text(value)),
            },
            Scope::Function(function) => SubjectPart::Function(function.name, self.given(function.path)?),
        })
    }

    /// The value of a header without white space around it; empty without the header. Among several lines the first counts, which
    /// handlers see, too.
    fn header(&self, name: &str) -> &[u8] {
        self.request.headers().get(name).map_or(&[], |value| value.as_bytes().trim_ascii())
    }

    #[inline]
    fn ip(&self) -> Address {
        self.clients.ip.of(self.request)
    }
}

/// `scope = "user"` on a handler whose limiter was not told who the user is: answered 500.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{handler}` has `scope = \"user\"`, and its limiter does not know who the user is: write \
     `RateLimiter::builder().user(…)`; until then every handler with this scope is answered 500 (RL008)"
)]
pub(crate) struct NoUserFunction {
    handler: &'static str,
}
