//! The names by which clients know rules, in `RateLimit-Policy`, `RateLimit` and the body of a 429.

use crate::rule::{algorithm::Algorithm, limit::Limit};

/// Characters of a scope that a name keeps.
const LONGEST_SCOPE: usize = 40;

/// Whom a rule counts, and its rate: `ip:300/300s`. A rule whose rate a function returns has the name of the function in place of a rate,
/// `user+plan:`, and behind it the rate of each request. A rule of places has their number: `user:2-at-once`.
///
/// A name consists of ASCII letters, digits and `-_.:+/`, so it needs no escape in a structured field (RFC 9651) or in JSON, and it
/// has at most 63 characters, besides the number that [`distinct`] may add. What a program calls its functions and headers is
/// cut to that.
pub(crate) fn rule_name<'a>(scopes: impl Iterator<Item = &'a str>, limit: Option<(Limit, Algorithm)>) -> String {
    let mut name = String::with_capacity(64);
    for (index, scope) in scopes.enumerate() {
        if index > 0 {
            name.push('+');
        }
        name.extend(scope.chars().map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => char,
            _ => '_',
        }));
    }
    name.truncate(LONGEST_SCOPE);
    match limit {
        Some((Limit { limit, .. }, Algorithm::Concurrency)) => name + &format!(":{limit}-at-once"),
        Some((Limit { limit, per }, _)) => name + &format!(":{limit}/{per}s"),
        None => name + ":",
    }
}

/// The name, with a number behind it where a rule before it on the handler has the same: a member of `RateLimit` finds its policy
/// by the name.
pub(crate) fn distinct<'a>(name: String, before: impl ExactSizeIterator<Item = &'a str>) -> String {
    let number = before.len() + 1;
    // No name ends in a digit, so none equals one with a number.
    if before.into_iter().any(|other| other == name) { format!("{name}.{number}") } else { name }
}

/// The name of a function, of its path as it was written.
pub(crate) fn last_segment(path: &str) -> &str {
    let path = path.split('<').next().unwrap_or(path).trim_end_matches("::");
    path.rsplit("::").next().unwrap_or(path)
}
