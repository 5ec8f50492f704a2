//! The output of the attribute.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{ExprPath, GenericParam, Path, ReturnType, Signature, Token, WherePredicate, parse_quote};

use crate::args::{Args, Limit};
use crate::handler::Handler;
use crate::validate;
use crate::value::{Algorithm, Cost, Key, Number, OnStoreError, OverLimit, Scope, name, plain};

/// The function that Actix calls: the policy, the handler as it was written, and the call that joins them.
///
/// No item of the user's may change the meaning of the output. So every path is absolute or begins with the alias, also for macros
/// and primitive types. There is no closure, because its parameter is a pattern, and `#[get]` makes a unit struct of a handler's name, which
/// the pattern would match. The names that the output introduces begin with `__ratelimit`, in either case. They are reserved.
pub(crate) fn expand(handler: &Handler, policy: &[Args], runtime: &Path) -> TokenStream {
    let Handler { outside, inside, vis, sig, body, .. } = handler;
    let outer = signature(handler, runtime);
    let path = format!("::{}", sig.ident.unraw());
    let rules = policy.iter().flat_map(|args| args.limits.iter().map(|limit| rule(args, limit)));
    let is_meant =
        policy.iter().any(|args| validate::first_names(&args.values).any(|name| name.unraw() == sig.ident.unraw()));
    let policy = quote! {
        use #runtime::codegen as __ratelimit;
        static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
            __ratelimit::concat!(__ratelimit::module_path!(), #path),
            &[#(#rules),*],
        );
    };
    // An attribute of ours under another name is among these attributes, and finds the mark.
    let mark = (!inside.is_empty()).then(|| quote!(#[__ratelimit::ratelimit(#MARK)]));
    let call = call(handler);
    let handled = quote!(#(#inside)* #mark #sig #body #call);
    let content = if is_meant {
        // An argument names a function with the handler's name, which the handler would hide in the same block.
        quote!(#policy { #handled })
    } else {
        quote!(#policy #handled)
    };
    let mut block = Group::new(Delimiter::Brace, content);
    block.set_span(body.span());
    quote!(#(#outside)* #vis #outer #block)
}

/// A mark in the output: the handler is limited already.
pub(crate) struct Mark;

const MARK: Mark = Mark;

impl Mark {
    const NAME: &'static str = "__ratelimit_marked";

    pub(crate) fn is(arguments: &TokenStream) -> bool {
        let mut tokens = arguments.clone().into_iter();
        matches!(tokens.next(), Some(TokenTree::Ident(ident)) if ident == Self::NAME) && tokens.next().is_none()
    }
}

impl ToTokens for Mark {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        Ident::new(Self::NAME, Span::call_site()).to_tokens(tokens);
    }
}

/// The handler's signature with another argument and another result.
///
/// Its parts keep their spans: the compiler warns of an unused function only if all of it has spans of the user.
fn signature(handler: &Handler, runtime: &Path) -> Signature {
    let mut sig = handler.sig.clone();
    sig.asyncness.get_or_insert(Token![async](sig.fn_token.span));
    sig.inputs = parse_quote!(__ratelimit_incoming: #runtime::codegen::Incoming);
    let response = exported(quote!(HttpResponse), runtime, place(&handler.sig));
    sig.output = parse_quote!(-> #response);

    let mut bounds: Vec<WherePredicate> = Vec::new();
    for parameter in sig.generics.type_params_mut() {
        if parameter.bounds.is_empty() {
            let name = &parameter.ident;
            bounds.push(parse_quote!(#name: 'static));
        } else {
            // In the list of bounds, since clippy warns of bounds in two places.
            parameter.bounds.push(parse_quote!('static));
        }
    }
    // A bound reports a type that is no extractor once, and at the type. Without `async`, a type may have a hidden lifetime, and such a
    // type cannot stand in a bound.
    if handler.sig.asyncness.is_some() {
        let extractors = handler.extractors().filter_map(|ty| with_static_lifetimes(ty.to_token_stream()));
        bounds.extend(extractors.map(|ty| -> WherePredicate {
            let end = ty.clone().into_iter().last().map_or_else(Span::call_site, |token| token.span());
            let from_request = exported(quote!(FromRequest), runtime, end);
            parse_quote!(#ty: #from_request)
        }));
    }
    if !bounds.is_empty() {
        sig.generics.make_where_clause().predicates.extend(bounds);
    }
    sig
}

/// A type with `'static` in place of every lifetime, written or elided: extractors have no other lifetime. `None` for a type with
/// lifetimes of its own.
fn with_static_lifetimes(ty: TokenStream) -> Option<TokenStream> {
    let mut tokens = ty.into_iter().peekable();
    let mut result = TokenStream::new();
    while let Some(token) = tokens.next() {
        let is_lifetime =
            |next: Option<&TokenTree>| matches!(next, Some(TokenTree::Punct(next)) if next.as_char() == '\'');
        match &token {
            TokenTree::Ident(keyword) if keyword == "for" => return None,
            TokenTree::Punct(punct) if punct.as_char() == '&' && !is_lifetime(tokens.peek()) => {
                result.extend([token.clone()]);
                result.extend(quote_spanned!(token.span()=> 'static));
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                let name = tokens.next()?;
                result.extend(quote_spanned!(name.span()=> 'static));
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), with_static_lifetimes(group.stream())?);
                inner.set_span(group.span());
                result.extend([TokenTree::Group(inner)]);
            }
            _ => result.extend([token]),
        }
    }
    Some(result)
}

/// A type of the runtime, with a span of the user.
fn exported(name: TokenStream, runtime: &Path, place: Span) -> TokenStream {
    // A lint may find a relative path longer than necessary. It ignores tokens of macros.
    let span = if runtime.leading_colon.is_some() { place } else { located(place) };
    respan(quote!(#runtime::codegen::#name), span)
}

/// The span of a handler's return type, or else of its name.
fn place(sig: &Signature) -> Span {
    match &sig.output {
        ReturnType::Default => sig.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    }
}

/// The call of the handler, with the span of its return type, where the compiler reports a type that is no `Responder`.
fn call(handler: &Handler) -> TokenStream {
    let sig = &handler.sig;
    let name = &sig.ident;
    let place = place(sig);
    let arguments = sig.generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Type(parameter) => Some(&parameter.ident),
        GenericParam::Const(parameter) => Some(&parameter.ident),
        GenericParam::Lifetime(_) => None,
    });
    let mut arguments = arguments.peekable();
    let turbofish = arguments.peek().is_some().then(|| quote!(::<#(#arguments),*>));
    let original = respan(quote!(#name #turbofish), name.span().located_at(place));
    let call = quote!(__ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, #original).await);
    respan(call, located(place))
}

/// One rule of the policy: its differences from `Rule::new`, and its scope, for the reader.
fn rule(args: &Args, Limit { limit, per }: &Limit) -> TokenStream {
    let algorithm = args.algorithm.as_ref().and_then(|algorithm| match algorithm {
        Algorithm::FixedWindow => None,
        Algorithm::SlidingWindow => Some(quote!(.sliding_window())),
        Algorithm::Gcra => Some(checked("gcra", args.burst.as_ref().unwrap_or(limit))),
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
    let over_limit = args.over_limit.as_ref().map(|over_limit| match over_limit {
        OverLimit::Allow => quote!(.shadow()),
        OverLimit::Function(path) => quote!(.over_limit(&__ratelimit::respond(#path))),
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
    let new = new(args, limit, per);
    quote! {
        #new #algorithm #stagger .scope(&[#(#scopes),*]) #key #cost #count_if #exempt #methods
            #over_limit #headers #on_store_error #lease
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

/// The rule with its limit and window, whose ranges this asserts.
fn new(args: &Args, limit: &Number, per: &Number) -> TokenStream {
    let fixed_cost = match &args.cost {
        Some(Cost::Number(number)) => Some(number),
        _ => None,
    };
    let others = args.burst.iter().chain(fixed_cost).chain(&args.lease);
    // The first constant may be out of range. Without one, the first number written beside the limit may be.
    let first = others.chain([limit, per]).min_by_key(|number| !number.is_constant());
    let first = first.map_or_else(Span::call_site, |number| located(number.ends().0));
    let last = [limit, per].into_iter().rfind(|number| number.is_constant());
    let last = last.map_or_else(Span::call_site, |number| number.ends().1);
    let new = respan(quote!(__ratelimit::Rule::new), first);
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
fn located(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The same tokens, with another span for the compiler's messages.
fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(respan).collect()
}
