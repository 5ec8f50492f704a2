//! The output for a policy: its name and its rules, one line for each.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{ExprPath, Path};

use crate::args::{Args, Limit};
use crate::value::{Algorithm, Cost, Key, Number, OnStoreError, OverLimit, Scope, name, plain};

/// A policy with a name for the log, and the rules of `all`. Policies that `all` name come first.
pub(crate) fn policy(name: &TokenStream, all: &[Args]) -> TokenStream {
    let policies: Vec<_> = all.iter().filter_map(|args| args.policy.as_ref()).map(reference).collect();
    let policies = (!policies.is_empty()).then(|| quote!(.policies(&[#(#policies),*])));
    let rules: Vec<_> = all.iter().flat_map(|args| args.limits.iter().map(|limit| rule(args, limit))).collect();
    let rules = (!rules.is_empty()).then(|| quote!(.rules(&[#(#rules),*])));
    quote!(__ratelimit::policy(#name) #policies #rules)
}

/// A reference to the policy of a path, which the compiler reports at the path if that is something else.
pub(crate) fn reference(path: &ExprPath) -> TokenStream {
    let and = respan(quote!(&), located(path.span()));
    quote!(#and #path)
}

/// The value of `policy!`.
pub(crate) fn value(name: &TokenStream, all: &[Args], runtime: &Path) -> TokenStream {
    let policy = policy(name, all);
    quote!({
        use #runtime::codegen as __ratelimit;
        #policy
    })
}

/// The default of `body_timeout`, in seconds.
const BODY_TIMEOUT: u32 = 5;

/// One rule: its differences from `Rule::new`, and its scope, for the reader.
fn rule(args: &Args, limit: &Limit) -> TokenStream {
    let algorithm = args.algorithm.as_ref().and_then(|algorithm| match (algorithm, limit) {
        (Algorithm::FixedWindow, _) => None,
        (Algorithm::SlidingWindow, _) => Some(quote!(.sliding_window())),
        (Algorithm::Gcra, Limit::Fixed { limit, .. }) => Some(checked("gcra", args.burst.as_ref().unwrap_or(limit))),
        (Algorithm::Gcra, Limit::Function(_)) => Some(quote!(.gcra_of_rate())),
        // An error before.
        (Algorithm::Gcra, Limit::Places { .. }) => None,
    });
    let stagger = args.stagger.then(|| quote!(.stagger()));
    let scopes = args.scopes.iter().map(scope);
    let key = args.key.as_ref().map(|key| match key {
        Key::Literal(key) => quote!(.key(#key)),
        Key::Function(path) => named("key_function", path, "scope"),
    });
    let cost = args.cost.as_ref().map(|cost| match cost {
        Cost::Number(number) => checked("cost", number),
        Cost::Function(path) => named("cost_function", path, "cost"),
    });
    let count_if = args.count_if.as_ref().map(|path| quote!(.count_if(&__ratelimit::count_if(#path))));
    let exempt = args.exempt.as_ref().map(|path| named("exempt", path, "exempt"));
    let methods = (!args.methods.is_empty()).then(|| {
        let methods = &args.methods;
        quote!(.methods(&[#(#methods),*]))
    });
    let body = args.body.map(|bytes| {
        let seconds = args.body_timeout.unwrap_or(BODY_TIMEOUT);
        let [bytes, seconds] = [bytes, seconds].map(Literal::u32_unsuffixed);
        quote!(.body(#bytes, #seconds))
    });
    let over_limit = args.over_limit.as_ref().map(|over_limit| match over_limit {
        OverLimit::Allow => quote!(.shadow()),
        OverLimit::Function(path) => quote!(.over_limit(&__ratelimit::respond(#path))),
    });
    let block = (!args.block.is_empty()).then(|| {
        let durations = args.block.iter().map(|seconds| Literal::u32_unsuffixed(*seconds));
        quote!(.block(&[#(#durations),*]))
    });
    let headers = (!args.send_x_headers).then(|| quote!(.without_x_headers()));
    let on_store_error = args.on_store_error.as_ref().map(|answer| {
        let answer = match answer {
            OnStoreError::Local => quote!(Local),
            OnStoreError::Allow => quote!(Allow),
            OnStoreError::Deny => quote!(Deny),
        };
        quote!(.on_store_error(__ratelimit::OnStoreError::#answer))
    });
    let lease = args.lease.as_ref().map(|lease| checked("lease", lease));
    let new = start(args, limit);
    quote! {
        #new #algorithm #stagger .scope(&[#(#scopes),*]) #key #cost #count_if #exempt #methods #body
            #over_limit #block #headers #on_store_error #lease
    }
}

/// The rule with what it admits.
fn start(args: &Args, limit: &Limit) -> TokenStream {
    match limit {
        Limit::Fixed { limit, per } => {
            let fixed_cost = match &args.cost {
                Some(Cost::Number(number)) => Some(number),
                _ => None,
            };
            let others: Vec<_> = args.burst.iter().chain(fixed_cost).chain(&args.lease).collect();
            new("new", &others, limit, per)
        }
        Limit::Places { places, hold } => new("concurrency", &[], places, hold),
        Limit::Function(path) => {
            let written = plain(path);
            quote!(__ratelimit::Rule::with_rate(#written, &__ratelimit::rate(#path)))
        }
    }
}

fn scope(scope: &Scope) -> TokenStream {
    match scope {
        Scope::Ip => quote!(__ratelimit::Scope::Ip),
        Scope::User => quote!(__ratelimit::Scope::User),
        Scope::Global => quote!(__ratelimit::Scope::Global),
        Scope::Header(name) => quote!(__ratelimit::Scope::Header(#name)),
        Scope::Function(path) => {
            let (name, written) = (name(path), plain(path));
            if name == written {
                quote!(__ratelimit::Scope::function(#name, &__ratelimit::scope(#path)))
            } else {
                quote!(__ratelimit::Scope::function_at(#name, #written, &__ratelimit::scope(#path)))
            }
        }
    }
}

/// A call with a function and its path, which identifies it among the functions of its handler.
fn named(method: &str, path: &ExprPath, kind: &str) -> TokenStream {
    let (method, kind) = (Ident::new(method, Span::call_site()), Ident::new(kind, Span::call_site()));
    let written = plain(path);
    quote!(.#method(#written, &__ratelimit::#kind(#path)))
}

/// A call that asserts the range of a number, at its place. The compiler reports one out of range from the first token
/// of the whole expression to the last of this call, so the first is to be at that place too.
fn checked(method: &str, value: &Number) -> TokenStream {
    let (first, last) = value.ends();
    let method = Ident::new(method, located(first));
    let value = arguments([number(value, "number")], last);
    quote_spanned!(located(first)=> .#method #value)
}

/// The rule with its limit and window, whose ranges `function` asserts. `others` are further numbers of the rule.
fn new(function: &str, others: &[&Number], limit: &Number, per: &Number) -> TokenStream {
    // The first constant may be out of range. Without one, the first number written beside the limit may be.
    let first = others.iter().copied().chain([limit, per]).min_by_key(|number| !number.is_constant());
    let first = first.map_or_else(Span::call_site, |number| located(number.ends().0));
    let last = [limit, per].into_iter().rfind(|number| number.is_constant());
    let last = last.map_or_else(Span::call_site, |number| number.ends().1);
    let function = Ident::new(function, Span::call_site());
    let new = respan(quote!(__ratelimit::Rule::#function), first);
    let arguments = arguments([number(limit, "number"), number(per, "seconds")], last);
    quote!(#new #arguments)
}

/// The arguments of a call that ends at a token of the user's.
fn arguments<const N: usize>(values: [TokenStream; N], last: Span) -> Group {
    let mut group = Group::new(Delimiter::Parenthesis, quote!(#(#values),*));
    group.set_span(located(last));
    group
}

/// A number as the runtime takes it: wide enough for a constant of any type, which the `kind` of number must allow. The policy is
/// part of a static, where what is borrowed must be constant for certain, as a condition or a division is in a block alone.
fn number(number: &Number, kind: &str) -> TokenStream {
    let constant = match number {
        Number::Literal(number, span) => {
            let mut literal = Literal::u32_unsuffixed(*number);
            literal.set_span(*span);
            return literal.into_token_stream();
        }
        Number::Constant(constant) => constant,
    };
    let (first, last) = constant.ends();
    let value = if constant.is_untyped {
        constant.to_token_stream()
    } else {
        let kind = Ident::new(kind, located(first));
        let value = arguments([constant.to_token_stream()], last);
        quote_spanned!(located(first)=> __ratelimit::#kind #value.get() as __ratelimit::i128)
    };
    let mut block = Group::new(Delimiter::Brace, value);
    block.set_span(located(last));
    quote_spanned!(located(first)=> const #block)
}

/// A span of the user for a token of ours. Lints ignore the token.
pub(crate) fn located(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The same tokens, with another span for the compiler's messages.
pub(crate) fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(respan).collect()
}
