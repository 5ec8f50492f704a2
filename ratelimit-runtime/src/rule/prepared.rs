//! A rule with everything that is computed once, at the first request of its policy.

use std::hash::{DefaultHasher, Hash, Hasher};

use actix_web::http::header::HeaderValue;

use crate::{
    counter::{BaseHash, key_part::escaped},
    decision::state::{Quota, RuleInfo},
    rule::{
        KeySource, RateSource, Rule,
        algorithm::Algorithm,
        block::Block,
        limit::Limit,
        name::{distinct, last_segment, rule_name},
        on_store_error::OnStoreError,
        scope::Scope,
    },
};

/// A rule, ready for requests.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) rule: &'static Rule,
    /// The handler's path, or the name that it was given in its place, escaped; of no meaning where a function gives the key.
    pub(crate) key: String,
    /// The part of the counters' names that is the same for all requests.
    pub(crate) base_hash: BaseHash,
    /// The number of the rule among those before it that are alike.
    pub(crate) ordinal: u32,
    /// Whether functions of users have to be asked before it can count a request.
    pub(crate) asks: bool,
    /// Whether a charge may be refunded or settled after the check.
    pub(crate) keeps_charge: bool,
    /// What to do when the store fails, if the rule says so.
    pub(crate) on_store_error: Option<OnStoreError>,
    /// The durations of its blocks.
    pub(crate) block: Option<&'static Block>,
    pub(crate) info: RuleInfo,
}

impl Prepared {
    /// Prepares a rule of the policy `name`, which stands after the rules `before`. Those from `first` belong to the same policy.
    pub(crate) fn new(rule: &'static Rule, name: &'static str, before: &[Self], first: usize) -> Self {
        let key = match rule.key {
            // Whether `module_path!()` writes the `r#` of a raw name is up to the compiler.
            KeySource::Handler => escaped(&name.replace("r#", "")),
            KeySource::Named(name) | KeySource::Function(name, _) => escaped(name),
        };
        let base_hash = base_hash_of(rule, &key, rule.limit().map_or(0, |limit| limit.per));
        let is_alike = |other: &&Self| other.base_hash == base_hash && other.rule.has_key_function_of(rule);
        let alike = before[first..].iter().filter(is_alike).count();
        let names = before.iter().map(|other| other.info.name.as_str());
        let scopes = rule.scope.iter().map(Scope::name);
        let (name, suffix, quota) = match rule.rate {
            RateSource::Fixed(limit) => {
                let quota = Quota::new(limit, rule.algorithm);
                (distinct(rule_name(scopes, Some((limit, rule.algorithm))), names), String::new(), Some(quota))
            }
            RateSource::Function(path, _) => {
                let name = rule_name(scopes.chain([last_segment(path)]), None);
                let alike = names.filter(|other| *other == name).count();
                (name, if alike > 0 { format!(".{}", before.len() + 1) } else { String::new() }, None)
            }
        };
        let info = RuleInfo {
            name,
            suffix,
            quota,
            refuses: rule.refuses(),
            counts_places: rule.counts_places(),
            // Headers speak of rates alone.
            x_headers: rule.x_headers && !rule.counts_places(),
            limit_value: quota.map(|quota| HeaderValue::from_static(quota.limit.to_string().leak())),
        };
        Self {
            rule,
            key,
            base_hash,
            ordinal: u32::try_from(alike).unwrap_or(u32::MAX),
            asks: rule.asks(),
            keeps_charge: rule.is_priced || rule.count_if.is_some() || rule.counts_places(),
            on_store_error: rule.on_store_error,
            block: rule.block.as_ref(),
            info,
        }
    }

    /// The same rule, which counts and refuses nothing.
    pub(crate) fn for_shadow(&self) -> Self {
        let info = RuleInfo { refuses: false, ..self.info.clone() };
        let on_store_error = self.on_store_error.map(OnStoreError::admitting);
        Self { on_store_error, block: None, info, ..self.clone() }
    }

    /// The hash of its counters' base name in a window of `per` seconds, which a function returned.
    pub(crate) fn base_hash_in(&self, per: u32) -> BaseHash {
        base_hash_of(self.rule, &self.key, per)
    }
}

fn base_hash_of(rule: &Rule, key: &str, per: u32) -> BaseHash {
    // A function's key differs from request to request.
    let literal = (!matches!(rule.key, KeySource::Function(..))).then_some(key);
    base_hash(per, rule.kind(), literal, rule.scope.iter().map(Scope::identity))
}

/// The part of counters' names that is the same for all requests, hashed. Clients have no part in it, so it needs no secret.
fn base_hash<'a>(per: u32, kind: &str, key: Option<&str>, scope: impl Iterator<Item = (&'a str, &'a str)>) -> BaseHash {
    let mut hasher = DefaultHasher::new();
    (per, kind, key).hash(&mut hasher);
    scope.for_each(|part| part.hash(&mut hasher));
    BaseHash::new(hasher.finish())
}

impl Quota {
    /// What a rule with this limit admits.
    pub(crate) fn new(limit: Limit, algorithm: Algorithm) -> Self {
        let Limit { limit: count, per } = limit;
        Self { limit: algorithm.capacity(limit), per: algorithm.refill(limit), count, window: per }
    }
}
