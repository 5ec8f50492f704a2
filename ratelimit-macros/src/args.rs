//! The arguments of `#[ratelimit(…)]`, with their spans.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprPath, Ident, LitStr, Path, Result, Token};

use crate::durations;
use crate::errors::Errors;
use crate::methods;
use crate::rate;
use crate::suggest::nearest;
use crate::value::{self, Algorithm, Cost, Key, Number, OnStoreError, OverLimit, Scope, bare};

/// The default of `per`, in seconds, as in the Flask snippet.
const PER: u32 = 300;

/// The default of `hold`, in seconds.
const HOLD: u32 = 60;

/// The table of arguments. A row has the name, the field with its type, the default, and the function that reads a value.
macro_rules! arguments {
    ($($name:literal => $field:ident: $type:ty = $default:expr, $read:expr;)*) => {
        const NAMES: &[&str] = &[$($name),*];

        /// One `#[ratelimit(…)]`: a limit, or the several of a rate string, which share everything else.
        pub(crate) struct Args {
            $(pub(crate) $field: $type,)*
            pub(crate) limits: Vec<Limit>,
            /// The names of the arguments that are given.
            pub(crate) names: Vec<Ident>,
            /// The tokens of all values.
            pub(crate) values: TokenStream,
        }

        impl Args {
            fn new() -> Self {
                Self { $($field: $default,)* limits: Vec::new(), names: Vec::new(), values: TokenStream::new() }
            }

            /// Reads the value of the argument `name`. An error leaves the value of an argument that is not given.
            fn read(&mut self, name: &Ident, value: &Expr, errors: &mut Errors) {
                match name.to_string().as_str() {
                    $($name => {
                        let read: fn(&Expr, &mut Errors) -> Option<$type> = $read;
                        if let Some(value) = read(value, errors) {
                            self.$field = value;
                        }
                    })*
                    unknown => errors.push(name, unknown_argument(unknown)),
                }
            }
        }
    };
}

arguments! {
    "limit" => limit: Option<Number> = None, |value, errors| errors.keep(Number::limit(value)).map(Some);
    "per" => per: Option<Number> = None, |value, errors| errors.keep(Number::per(value)).map(Some);
    "rate" => rate: Option<ExprPath> = None, |value, errors| errors.keep(value::function(value)).map(Some);
    "concurrency" => concurrency: Option<Number> = None, |value, errors| errors.keep(Number::concurrency(value)).map(Some);
    "hold" => hold: Option<Number> = None, |value, errors| errors.keep(Number::hold(value)).map(Some);
    "algorithm" => algorithm: Option<Algorithm> = None, |value, errors| errors.keep(Algorithm::parse(value)).map(Some);
    "burst" => burst: Option<Number> = None, |value, errors| errors.keep(Number::burst(value)).map(Some);
    "stagger" => stagger: bool = false, |value, errors| errors.keep(value::boolean(value));
    "scope" => scopes: Vec<Scope> = vec![Scope::Ip], |value, errors| Some(Scope::all(value, errors));
    "key" => key: Option<Key> = None, |value, errors| errors.keep(Key::parse(value)).map(Some);
    "cost" => cost: Option<Cost> = None, |value, errors| errors.keep(Cost::parse(value)).map(Some);
    "count_if" => count_if: Option<ExprPath> = None, |value, errors| errors.keep(value::function(value)).map(Some);
    "exempt" => exempt: Option<ExprPath> = None, |value, errors| errors.keep(value::function(value)).map(Some);
    // Empty for all methods.
    "methods" => methods: Vec<LitStr> = Vec::new(), |value, errors| Some(methods::methods(value, errors));
    // In bytes.
    "body" => body: Option<u32> = None, |value, errors| errors.keep(value::body(value)).map(Some);
    // In seconds.
    "body_timeout" => body_timeout: Option<u32> = None, |value, errors| errors.keep(durations::body_timeout(value)).map(Some);
    "over_limit" => over_limit: Option<OverLimit> = None, |value, errors| errors.keep(OverLimit::parse(value)).map(Some);
    // In seconds; empty for a rule that does not block.
    "block" => block: Vec<u32> = Vec::new(), |value, errors| errors.keep(durations::block(value));
    "send_x_headers" => send_x_headers: bool = true, |value, errors| errors.keep(value::boolean(value));
    "on_store_error" => on_store_error: Option<OnStoreError> = None,
        |value, errors| errors.keep(OnStoreError::parse(value)).map(Some);
    "lease" => lease: Option<Number> = None, |value, errors| errors.keep(Number::lease(value)).map(Some);
    "policy" => policy: Option<ExprPath> = None, |value, errors| errors.keep(value::policy(value)).map(Some);
    "crate" => runtime: Option<Path> = None, |value, errors| errors.keep(value::module(value)).map(Some);
}

/// How often a rule admits, or how many at once.
pub(crate) enum Limit {
    Fixed {
        limit: Number,
        per: Number,
    },
    /// As a function says of each request.
    Function(ExprPath),
    /// So many at the same time. A place is kept for `hold` seconds, unless it is renewed.
    Places {
        places: Number,
        hold: Number,
    },
}

/// One argument. Any expression is accepted as a value at first, so that a wrong value gets an error of ours, and the arguments after
/// it are still read.
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
        let mut args = Self::new();
        if let Some(rates) = args.read_all(tokens, errors) {
            args.limits = args.limits(rates, span, errors);
            let places = args.places(span);
            args.limits.extend(places);
        }
        args
    }

    /// Reads the arguments that follow the rules of a policy, among which no limit is expected.
    pub(crate) fn parse_without_limit(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::new();
        args.read_all(tokens, errors);
        args
    }

    /// Reads all arguments, and gives the limits of a rate string, if there is one. `None`, if they cannot be told apart.
    fn read_all(&mut self, tokens: TokenStream, errors: &mut Errors) -> Option<Option<Vec<Limit>>> {
        let parser = Punctuated::<Argument, Token![,]>::parse_terminated;
        let arguments = errors.keep(parser.parse2(tokens))?;
        let mut rates = None;
        for argument in &arguments {
            match argument {
                Argument::Rates(value) if rates.is_none() => {
                    rates = Some(errors.keep(Limit::parse_rates(value)).unwrap_or_default());
                }
                Argument::Rates(value) => {
                    errors.push(value, "a second value without a name: rates go in one string, as in \"10/s; 1000/h\"");
                }
                Argument::Named(name, _) if self.names.contains(name) => {
                    errors.push(name, format!("`{name}` is given twice: keep one of them"));
                }
                Argument::Named(name, value) => {
                    self.names.push(name.clone());
                    value.to_tokens(&mut self.values);
                    self.read(name, value, errors);
                }
            }
        }
        Some(rates)
    }

    /// What runs at the same time, if that is limited.
    fn places(&mut self, span: Span) -> Option<Limit> {
        let places = self.concurrency.take()?;
        let hold = self.hold.take().unwrap_or(Number::Literal(HOLD, span));
        Some(Limit::Places { places, hold })
    }

    /// The limits of the rate string, or else that of `limit` and `per`.
    fn limits(&mut self, rates: Option<Vec<Limit>>, span: Span, errors: &mut Errors) -> Vec<Limit> {
        if let Some(path) = &self.rate {
            for name in self.names.iter().filter(|name| *name == "limit" || *name == "per") {
                errors
                    .push(name, format!("`rate` is the limit and the window of each request: remove it, or `{name}`"));
            }
            if let Some(Limit::Fixed { limit, .. }) = rates.iter().flatten().next() {
                let message = "`rate` is the limit and the window of each request: remove it, or this rate";
                errors.add(Error::new(limit.ends().0, message));
            }
            return vec![Limit::Function(path.clone())];
        }
        if let Some(rates) = rates {
            for name in self.names.iter().filter(|name| *name == "limit" || *name == "per") {
                errors.push(name, format!("a rate string holds the limit and the window: remove it, or `{name}`"));
            }
            return rates;
        }
        if let Some(limit) = self.limit.take() {
            let per = self.per.take().unwrap_or(Number::Literal(PER, span));
            return vec![Limit::Fixed { limit, per }];
        }
        if !["limit", "rate", "policy", "concurrency"].iter().any(|name| self.means(name)) {
            let message = "`limit` is missing: write `limit = 300, per = 300`, or a rate such as \"300/5m\"";
            errors.add(Error::new(span, message));
        }
        Vec::new()
    }
}

impl Args {
    /// Whether an argument is given, or one whose name looks like a misspelling of it.
    pub(crate) fn means(&self, argument: &str) -> bool {
        self.names.iter().any(|name| name == argument || nearest(&name.to_string(), NAMES) == Some(argument))
    }
}

impl Limit {
    /// The first token.
    pub(crate) fn start(&self) -> Span {
        match self {
            Self::Fixed { limit, .. } => limit.ends().0,
            Self::Function(path) => path.span(),
            Self::Places { places, .. } => places.ends().0,
        }
    }

    fn parse_rates(value: &Expr) -> Result<Vec<Self>> {
        let Some(text) = value::text(value) else {
            let message = "write `name = value` here, or a rate such as \"300/5m\"";
            return Err(Error::new_spanned(value, message));
        };
        let number = |number| Number::Literal(number, text.span());
        let rates = rate::rates(&text.value()).map_err(|message| Error::new_spanned(value, message))?;
        Ok(rates.into_iter().map(|(limit, per)| Self::Fixed { limit: number(limit), per: number(per) }).collect())
    }
}

fn unknown_argument(name: &str) -> String {
    let known: Vec<String> = NAMES.iter().map(|known| format!("`{known}`")).collect();
    let known = known.join(", ");
    match nearest(name, NAMES) {
        Some(nearest) => format!("there is no argument `{name}`, did you mean `{nearest}`? There are {known}"),
        None => format!("there is no argument `{name}`: there are {known}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_argument_is_recognised() {
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
            ("blocked", Some("block")),
        ] {
            assert_eq!(nearest(name, NAMES), expected, "{name}");
        }
    }
}
