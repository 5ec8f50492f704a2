//! The arguments of `policy!(…)`: those of one rule, or rules in parentheses and then what they share.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::{Error, LitStr};

use crate::args::Args;
use crate::errors::Errors;
use crate::value::Key;

/// A policy as it is defined.
pub(crate) struct Definition {
    /// `None` after an error.
    pub(crate) key: Option<LitStr>,
    /// The rules, each with the key of the policy.
    pub(crate) rules: Vec<Args>,
}

impl Definition {
    /// Reads a definition. Where this adds an error, the result is of no use.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let (groups, rest) = groups(tokens);
        let (key, mut rules) = if groups.is_empty() {
            let args = Args::parse(rest, Span::call_site(), errors);
            refuse_policy(&args, errors);
            (key(&args, errors), vec![args])
        } else {
            let shared = Args::parse_without_limit(rest, errors);
            for word in shared.names.iter().filter(|word| *word != "key" && *word != "crate") {
                errors.push(word, format!("write `{word}` within the parentheses of each rule that it is for"));
            }
            let mut rules: Vec<Args> =
                groups.into_iter().map(|group| Args::parse(group.stream(), group.span(), errors)).collect();
            for args in &rules {
                refuse_policy(args, errors);
                for word in args.names.iter().filter(|word| *word == "key") {
                    errors.push(word, "a policy has one `key`: write it behind the parentheses of the rules");
                }
            }
            if let (Some(runtime), Some(first)) = (&shared.runtime, rules.first_mut()) {
                first.runtime.get_or_insert_with(|| runtime.clone());
            }
            // A key within a rule is reported already.
            let has_key = rules.iter().any(|args| args.key.is_some());
            (if has_key { None } else { key(&shared, errors) }, rules)
        };
        for args in &mut rules {
            args.key = key.clone().map(Key::Literal);
        }
        Self { key, rules }
    }
}

/// The rules in parentheses at the beginning, and what follows them.
fn groups(tokens: TokenStream) -> (Vec<Group>, TokenStream) {
    let mut groups = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(TokenTree::Group(group)) = rest.peek()
        && group.delimiter() == Delimiter::Parenthesis
    {
        groups.push(group.clone());
        rest.next();
        if !matches!(rest.peek(), Some(TokenTree::Punct(comma)) if comma.as_char() == ',') {
            break;
        }
        rest.next();
    }
    (groups, rest.collect())
}

fn key(args: &Args, errors: &mut Errors) -> Option<LitStr> {
    match &args.key {
        Some(Key::Literal(key)) => return Some(key.clone()),
        Some(Key::Function(path)) => {
            errors.push(path, "the key of a policy is a name in quotes, as in `key = \"login\"`");
        }
        None if !args.means("key") => {
            let message = "`key` is missing: name what the policy counts, as in `key = \"login\"`";
            errors.add(Error::new(Span::call_site(), message));
        }
        None => {}
    }
    None
}

fn refuse_policy(args: &Args, errors: &mut Errors) {
    for word in args.names.iter().filter(|word| *word == "policy") {
        errors
            .push(word, "a policy consists of rules, not of other policies: write several `#[ratelimit]` on a handler");
    }
}
