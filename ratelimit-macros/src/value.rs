//! The values of arguments: the forms that each takes, and the messages about any other.

use std::fmt::{self, Display};

use proc_macro2::Span;
use quote::ToTokens;
use syn::ext::IdentExt as _;
use syn::{Error, Expr, ExprLit, ExprPath, Lit, LitInt, LitStr, Path, Result, UnOp};

use crate::constant::{self, Constant};
use crate::errors::Errors;
use crate::rate::{self, BURST, CONCURRENCY, COST, HOLD, LEASE, LIMIT, Range, WINDOW};
use crate::size;

pub(crate) enum Number {
    Literal(u32, Span),
    /// Any other constant expression, whose range the output asserts.
    Constant(Constant),
}

pub(crate) enum Algorithm {
    FixedWindow,
    SlidingWindow,
    Gcra,
}

pub(crate) enum Scope {
    Ip,
    User,
    Global,
    /// In lower case.
    Header(String),
    Function(ExprPath),
}

pub(crate) enum Key {
    Literal(LitStr),
    Function(ExprPath),
}

pub(crate) enum Cost {
    Number(Number),
    Function(ExprPath),
}

pub(crate) enum OverLimit {
    Allow,
    Function(ExprPath),
}

pub(crate) enum OnStoreError {
    Local,
    Allow,
    Deny,
}

impl Number {
    pub(crate) fn limit(value: &Expr) -> Result<Self> {
        let message = match text(value) {
            Some(text) if text.value().parse::<u32>().is_ok() => {
                format!("write the number without quotes: `limit = {}`", text.value())
            }
            Some(_) => "write a number; a rate stands alone, as in `#[ratelimit(\"300/5m\")]`".to_owned(),
            None => "write a whole number, or a constant expression of integers".to_owned(),
        };
        Self::parse(value, &LIMIT, &message)
    }

    pub(crate) fn per(value: &Expr) -> Result<Self> {
        if let Some(text) = text(value) {
            let seconds = rate::duration(&text.value());
            let seconds = seconds.map_err(|message| Error::new_spanned(value, message))?;
            return Ok(Self::Literal(seconds, text.span()));
        }
        let message = "write whole seconds, a duration such as \"5m\", \
                       or a constant expression of integers or of type `Duration`";
        Self::parse(value, &WINDOW, message)
    }

    pub(crate) fn burst(value: &Expr) -> Result<Self> {
        let message = "write how many requests may come at once, as in `burst = 20`, \
                       or a constant expression of integers";
        Self::parse(value, &BURST, message)
    }

    pub(crate) fn lease(value: &Expr) -> Result<Self> {
        let message = "write a whole number of tokens, as in `lease = 100`, or a constant expression of integers";
        Self::parse(value, &LEASE, message)
    }

    pub(crate) fn concurrency(value: &Expr) -> Result<Self> {
        let message = "write how many requests may run at the same time, as in `concurrency = 2`, \
                       or a constant expression of integers";
        Self::parse(value, &CONCURRENCY, message)
    }

    pub(crate) fn hold(value: &Expr) -> Result<Self> {
        if let Some(text) = text(value) {
            let seconds = rate::duration(&text.value()).and_then(|seconds| HOLD.parse(&seconds.to_string()));
            let seconds = seconds.map_err(|message| Error::new_spanned(value, message))?;
            return Ok(Self::Literal(seconds, text.span()));
        }
        let message = "write whole seconds, a duration such as \"60s\", \
                       or a constant expression of integers or of type `Duration`";
        Self::parse(value, &HOLD, message)
    }

    fn parse(value: &Expr, range: &Range, otherwise: &str) -> Result<Self> {
        let value = constant::unwrapped(value);
        let message = match value {
            Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => match integer(int, range) {
                Ok(number) => return Ok(Self::Literal(number, int.span())),
                Err(message) => message,
            },
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) && matches!(*unary.expr, Expr::Lit(_)) => {
                range.too_small()
            }
            _ => match Constant::parse(value) {
                Some(constant) => return Ok(Self::Constant(constant)),
                None => otherwise.to_owned(),
            },
        };
        Err(Error::new_spanned(value, message))
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// The spans of its first token and its last.
    pub(crate) fn ends(&self) -> (Span, Span) {
        match self {
            Self::Literal(_, span) => (*span, *span),
            Self::Constant(constant) => constant.ends(),
        }
    }
}

pub(crate) fn integer(int: &LitInt, range: &Range) -> rate::Result<u32> {
    const TYPES: [&str; 12] = ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];
    let digits = int.base10_digits();
    match int.suffix() {
        "" => range.parse(digits),
        suffix if TYPES.contains(&suffix) => range.parse(digits),
        "s" | "m" | "h" | "d" => Err(format!("a unit goes in quotes: \"{int}\"")),
        suffix => Err(format!("`{suffix}` is no type of integers: write `{digits}`")),
    }
}

/// The largest body, in bytes.
pub(crate) fn body(value: &Expr) -> Result<u32> {
    let bytes = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => size::bytes(&text.value()),
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) if int.suffix().is_empty() => {
            size::in_range(int.base10_digits().parse().unwrap_or(u64::MAX))
        }
        _ => Err("write how long a body may be, as in `body = \"16 KiB\"`".to_owned()),
    };
    bytes.map_err(|message| Error::new_spanned(value, message))
}

impl Algorithm {
    pub(crate) fn parse(value: &Expr) -> Result<Self> {
        let message = match text(value).map(LitStr::value).as_deref() {
            Some("fixed-window") => return Ok(Self::FixedWindow),
            Some("sliding-window") => return Ok(Self::SlidingWindow),
            Some("gcra") => return Ok(Self::Gcra),
            Some(word) => format!("there is no algorithm `{word}`: write {ALGORITHMS}"),
            None => format!("write {ALGORITHMS}"),
        };
        Err(Error::new_spanned(value, message))
    }
}

const ALGORITHMS: &str = "\"fixed-window\", \"sliding-window\" or \"gcra\"";

impl Scope {
    /// All scopes of a value, joined by `+` or in an array.
    pub(crate) fn all(value: &Expr, errors: &mut Errors) -> Vec<Self> {
        let values = match value {
            Expr::Array(array) if array.elems.is_empty() => {
                errors.push(value, "name a scope, as in `scope = \"ip\"`");
                Vec::new()
            }
            Expr::Array(array) => array.elems.iter().cloned().map(bare).collect(),
            _ => vec![value.clone()],
        };
        let mut scopes: Vec<Self> = Vec::new();
        for value in &values {
            for scope in errors.keep(Self::joined(value)).unwrap_or_default() {
                if scopes.iter().any(|other| other.to_string() == scope.to_string()) {
                    let message = format!("the scope {scope} is joined twice: keep one of them");
                    errors.push(value, message);
                } else {
                    scopes.push(scope);
                }
            }
        }
        if scopes.len() > 1 && scopes.iter().any(|scope| matches!(scope, Self::Global)) {
            let message = "\"global\" counts all requests together, and cannot be joined: \
                           remove it, or the others";
            errors.push(value, message);
        }
        scopes
    }

    fn joined(value: &Expr) -> Result<Vec<Self>> {
        if let Expr::Path(path) = value {
            return Ok(vec![Self::Function(path.clone())]);
        }
        let Some(text) = text(value) else {
            let message = "write \"ip\", \"user\", \"global\", \"header:X-Api-Key\", \
                           the path of a function, or several of them as in [\"ip\", tenant]";
            return Err(Error::new_spanned(value, message));
        };
        let scopes = text.value().split('+').map(Self::word).collect::<rate::Result<_>>();
        scopes.map_err(|message| Error::new_spanned(value, message))
    }

    fn word(word: &str) -> rate::Result<Self> {
        match word.trim() {
            "ip" => Ok(Self::Ip),
            "user" => Ok(Self::User),
            "global" => Ok(Self::Global),
            word => match word.strip_prefix("header:").map(str::trim) {
                Some(name) if is_token(name) => Ok(Self::Header(name.to_ascii_lowercase())),
                Some("") => Err("name the header, as in \"header:X-Api-Key\"".to_owned()),
                Some(name) => Err(format!("`{name}` is no header name: one is \"X-Api-Key\"")),
                None => Err(format!(
                    "there is no scope `{word}`: write \"ip\", \"user\", \"global\", \
                     \"header:X-Api-Key\", several joined as in \"ip+user\", \
                     or the path of a function without quotes"
                )),
            },
        }
    }
}

/// A `token` of RFC 9110, which a header's name is, and a method.
pub(crate) fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

impl Key {
    pub(crate) fn parse(value: &Expr) -> Result<Self> {
        let message = match (value, text(value)) {
            (Expr::Path(path), _) => return Ok(Self::Function(path.clone())),
            (_, Some(text)) if !text.value().trim().is_empty() => {
                return Ok(Self::Literal(text.clone()));
            }
            (_, Some(_)) => "the key is empty: name what is counted, as in `key = \"search\"`",
            _ => "write a name in quotes, as in `key = \"search\"`, or the path of a function",
        };
        Err(Error::new_spanned(value, message))
    }
}

impl Cost {
    pub(crate) fn parse(value: &Expr) -> Result<Self> {
        let message = "write a whole number, a constant expression of integers, or the path of a function; a path in \
                       capitals is a `const`";
        match constant::unwrapped(value) {
            Expr::Path(path) if !in_capitals(path) => Ok(Self::Function(path.clone())),
            _ => Number::parse(value, &COST, message).map(Self::Number),
        }
    }
}

/// Whether a path ends in capitals, which Rust's own lints demand of a `const` and forbid for a function.
fn in_capitals(path: &ExprPath) -> bool {
    let name = name(path);
    name.contains(char::is_uppercase) && !name.contains(char::is_lowercase)
}

/// The path of a function, for arguments that take nothing else.
pub(crate) fn function(value: &Expr) -> Result<ExprPath> {
    match value {
        Expr::Path(path) => Ok(path.clone()),
        _ => Err(Error::new_spanned(value, "write the path of a function, without quotes")),
    }
}

/// The path of a `static` policy.
pub(crate) fn policy(value: &Expr) -> Result<ExprPath> {
    match value {
        Expr::Path(path) => Ok(path.clone()),
        _ => {
            let message = "write the path of a `static` that holds a `policy!`, without quotes, as in `policy = LOGIN`";
            Err(Error::new_spanned(value, message))
        }
    }
}

impl OverLimit {
    pub(crate) fn parse(value: &Expr) -> Result<Self> {
        match (value, text(value)) {
            (Expr::Path(path), _) => Ok(Self::Function(path.clone())),
            (_, Some(text)) if text.value() == "allow" => Ok(Self::Allow),
            _ => {
                let message = "write the path of a function without quotes, or \"allow\"";
                Err(Error::new_spanned(value, message))
            }
        }
    }
}

impl OnStoreError {
    pub(crate) fn parse(value: &Expr) -> Result<Self> {
        match text(value).map(LitStr::value).as_deref() {
            Some("local") => Ok(Self::Local),
            Some("allow") => Ok(Self::Allow),
            Some("deny") => Ok(Self::Deny),
            _ => Err(Error::new_spanned(value, "write \"local\", \"allow\" or \"deny\"")),
        }
    }
}

pub(crate) fn boolean(value: &Expr) -> Result<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(bool), .. }) => Ok(bool.value),
        _ => Err(Error::new_spanned(value, "write `true` or `false`")),
    }
}

/// A path of modules, with or without quotes.
pub(crate) fn module(value: &Expr) -> Result<Path> {
    let path = match value {
        Expr::Path(path) if path.qself.is_none() => Some(path.path.clone()),
        _ => text(value).and_then(|text| text.parse_with(Path::parse_mod_style).ok()),
    };
    path.ok_or_else(|| Error::new_spanned(value, "write a path, as in `crate = ::ratelimit_runtime`"))
}

pub(crate) fn text(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    }
}

/// An expression without the invisible group in which a fragment of `macro_rules!` comes.
pub(crate) fn bare(mut expr: Expr) -> Expr {
    while let Expr::Group(group) = expr {
        expr = *group.expr;
    }
    expr
}

/// The last segment of a function's path, without generics and `r#`: the function's name in keys and headers.
pub(crate) fn name(path: &ExprPath) -> String {
    path.path.segments.last().map(|last| last.ident.unraw().to_string()).unwrap_or_default()
}

/// A path as a person writes it, without the spaces of a token stream.
pub(crate) fn plain(path: &impl ToTokens) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(number, _) => number.fmt(f),
            Self::Constant(constant) => f.write_str(&plain(constant)),
        }
    }
}

/// The scope as it is written: words in quotes, functions without.
impl Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("\"ip\""),
            Self::User => f.write_str("\"user\""),
            Self::Global => f.write_str("\"global\""),
            Self::Header(name) => write!(f, "\"header:{name}\""),
            Self::Function(path) => write!(f, "`{}`", plain(path)),
        }
    }
}

#[cfg(test)]
mod tests;
