//! What stands in the parentheses of `#[ratelimit(…)]`, parsed with its spans.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprPath, Ident, LitStr, Path, Result, Token};

use crate::value::{self, Algorithm, Cost, Key, Number, OnStoreError, OverLimit, Scope, bare};
use crate::{Errors, check, rate};

const KNOWN: [&str; 16] = [
    "limit",
    "per",
    "algorithm",
    "burst",
    "stagger",
    "scope",
    "key",
    "cost",
    "count_if",
    "exempt",
    "methods",
    "over_limit",
    "send_x_headers",
    "on_store_error",
    "lease",
    "crate",
];

/// The seconds of `per` where it is not given, as in the Flask snippet.
const PER: u32 = 300;

/// One `#[ratelimit(…)]`: a limit, or the several of a rate string, which share everything else.
pub(crate) struct Args {
    pub(crate) limits: Vec<Limit>,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) burst: Option<Number>,
    pub(crate) stagger: bool,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) key: Option<Key>,
    pub(crate) cost: Option<Cost>,
    pub(crate) count_if: Option<ExprPath>,
    pub(crate) exempt: Option<ExprPath>,
    /// None of them: all.
    pub(crate) methods: Vec<LitStr>,
    pub(crate) over_limit: Option<OverLimit>,
    pub(crate) send_x_headers: bool,
    pub(crate) on_store_error: Option<OnStoreError>,
    pub(crate) lease: Option<Number>,
    pub(crate) runtime: Option<Path>,
    /// Everything that is written right of a `=`.
    pub(crate) values: TokenStream,
}

pub(crate) struct Limit {
    pub(crate) limit: Number,
    pub(crate) per: Number,
}

/// Any expression is taken as a value at first. So a wrong one is met by an error of ours, and the arguments after it
/// are still read.
enum Argument {
    Rates(Expr),
    Named(Ident, Expr),
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) {
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            return Ok(Self::Named(name, bare(input.parse()?)));
        }
        if input.peek(Ident::peek_any) && input.peek2(Token![:]) && !input.peek2(Token![::]) {
            input.call(Ident::parse_any)?;
            return Err(input.error("write `=` between a name and its value"));
        }
        Ok(Self::Rates(bare(input.parse()?)))
    }
}

impl Args {
    /// Reads the arguments of the attribute at `span`. Where this adds an error, the result is of no use.
    pub(crate) fn parse(tokens: TokenStream, span: Span, errors: &mut Errors) -> Self {
        let mut args = Self {
            limits: Vec::new(),
            algorithm: None,
            burst: None,
            stagger: false,
            scopes: vec![Scope::Ip],
            key: None,
            cost: None,
            count_if: None,
            exempt: None,
            methods: Vec::new(),
            over_limit: None,
            send_x_headers: true,
            on_store_error: None,
            lease: None,
            runtime: None,
            values: TokenStream::new(),
        };
        let parser = Punctuated::<Argument, Token![,]>::parse_terminated;
        let Some(arguments) = errors.keep(parser.parse2(tokens)) else {
            return args;
        };

        let (mut rates, mut limit, mut per) = (None, None, None);
        let mut names: Vec<&Ident> = Vec::new();
        for argument in &arguments {
            let (name, value) = match argument {
                Argument::Rates(value) if rates.is_none() => {
                    rates = Some(errors.keep(Limit::parse_rates(value)).unwrap_or_default());
                    continue;
                }
                Argument::Rates(value) => {
                    errors.push(value, "a second value without a name: rates go in one string, as in \"10/s; 1000/h\"");
                    continue;
                }
                Argument::Named(name, value) => (name, value),
            };
            if names.contains(&name) {
                errors.push(name, format!("`{name}` is given twice: keep one of them"));
                continue;
            }
            names.push(name);
            value.to_tokens(&mut args.values);
            match name.to_string().as_str() {
                "limit" => limit = errors.keep(Number::limit(value)),
                "per" => per = errors.keep(Number::per(value)),
                "algorithm" => args.algorithm = errors.keep(Algorithm::parse(value)),
                "burst" => args.burst = errors.keep(Number::burst(value)),
                "stagger" => args.stagger = errors.keep(value::boolean(value)).unwrap_or(false),
                "scope" => args.scopes = Scope::all(value, errors),
                "key" => args.key = errors.keep(Key::parse(value)),
                "cost" => args.cost = errors.keep(Cost::parse(value)),
                "count_if" => args.count_if = errors.keep(value::function(value)),
                "exempt" => args.exempt = errors.keep(value::function(value)),
                "methods" => args.methods = value::methods(value, errors),
                "over_limit" => args.over_limit = errors.keep(OverLimit::parse(value)),
                "send_x_headers" => args.send_x_headers = errors.keep(value::boolean(value)).unwrap_or(true),
                "on_store_error" => args.on_store_error = errors.keep(OnStoreError::parse(value)),
                "lease" => args.lease = errors.keep(Number::lease(value)),
                "crate" => args.runtime = errors.keep(value::module(value)),
                unknown => errors.push(name, unknown_argument(unknown)),
            }
        }

        if let Some(rates) = rates {
            for name in names.iter().filter(|name| **name == "limit" || **name == "per") {
                errors.push(name, format!("a rate string holds the limit and the window: remove it, or `{name}`"));
            }
            args.limits = rates;
        } else if let Some(limit) = limit {
            args.limits.push(Limit { limit, per: per.unwrap_or(Number::Literal(PER, span)) });
        } else if names.iter().all(|name| *name != "limit" && nearest(&name.to_string()) != Some("limit")) {
            let message = "`limit` is missing: write `limit = 300, per = 300`, or a rate such as \"300/5m\"";
            errors.add(Error::new(span, message));
        }
        check::attribute(&args, &names, errors);
        args
    }
}

impl Limit {
    fn parse_rates(value: &Expr) -> Result<Vec<Self>> {
        let Some(text) = value::text(value) else {
            let message = "write `name = value` here, or a rate such as \"300/5m\"";
            return Err(Error::new_spanned(value, message));
        };
        let number = |number| Number::Literal(number, text.span());
        let rates = rate::rates(&text.value()).map_err(|message| Error::new_spanned(value, message))?;
        Ok(rates.into_iter().map(|(limit, per)| Self { limit: number(limit), per: number(per) }).collect())
    }
}

fn unknown_argument(name: &str) -> String {
    let known = KNOWN.map(|known| format!("`{known}`")).join(", ");
    match nearest(name) {
        Some(nearest) => format!("there is no argument `{name}`, did you mean `{nearest}`? There are {known}"),
        None => format!("there is no argument `{name}`: there are {known}"),
    }
}

/// The argument that was probably meant, also by one who writes `scope_func` as the Flask snippet does.
fn nearest(name: &str) -> Option<&'static str> {
    let near = |known: &&str| distance(name, known) <= name.len().div_ceil(3);
    KNOWN
        .into_iter()
        .find(|known| name.starts_with(known))
        .or_else(|| KNOWN.into_iter().filter(near).min_by_key(|known| distance(name, known)))
}

/// Levenshtein's: how many letters to insert, remove or replace.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            before = replaced.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        for (name, expected) in [
            ("limt", Some("limit")),
            ("limits", Some("limit")),
            ("pre", None),
            ("scpoe", Some("scope")),
            ("scope_func", Some("scope")),
            ("key_func", Some("key")),
            ("overlimit", Some("over_limit")),
            ("send_headers", Some("send_x_headers")),
            ("on_error", None),
            ("bursts", Some("burst")),
            ("algoritm", Some("algorithm")),
            ("method", Some("methods")),
            ("cost_func", Some("cost")),
            ("bost", Some("cost")),
            ("exempt_when", Some("exempt")),
            ("colour", None),
        ] {
            assert_eq!(nearest(name), expected, "{name}");
        }
    }
}
