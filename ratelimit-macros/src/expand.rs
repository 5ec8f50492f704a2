//! The output of the attribute: the function that Actix calls, with the handler in it.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{GenericParam, Path, ReturnType, Signature, Token, WherePredicate, parse_quote};

use crate::args::Args;
use crate::handler::Handler;
use crate::policy::{located, policy, reference, respan};
use crate::validate;

/// The function that Actix calls: the policy, the handler as it was written, and the call that joins them. Where a `policy` stands alone,
/// it is called by its name.
///
/// No item of the user's may change the meaning of the output. So every path is absolute or begins with the alias, also for macros
/// and primitive types. There is no closure, because its parameter is a pattern, and `#[get]` makes a unit struct of a handler's name, which
/// the pattern would match. The names that the output introduces begin with `__ratelimit`, in either case. They are reserved.
pub(crate) fn expand(handler: &Handler, all: &[Args], runtime: &Path) -> TokenStream {
    let Handler { outside, inside, vis, sig, body, .. } = handler;
    let outer = signature(handler, runtime);
    let path = format!("::{}", sig.ident.unraw());
    let path = quote!(__ratelimit::concat!(__ratelimit::module_path!(), #path));
    let is_meant =
        all.iter().any(|args| validate::first_names(&args.values).any(|name| name.unraw() == sig.ident.unraw()));
    let alone = match all {
        [Args { policy: Some(policy), .. }] => Some(reference(policy)),
        _ => None,
    };
    let made = alone.is_none().then(|| {
        let policy = policy(&path, all);
        quote!(static __RATELIMIT: __ratelimit::Policy = #policy;)
    });
    let policy = quote!(use #runtime::codegen as __ratelimit; #made);
    // An attribute of ours under another name is among these attributes, and finds the mark.
    let mark = (!inside.is_empty()).then(|| quote!(#[__ratelimit::ratelimit(#MARK)]));
    let call = call(handler, &alone.unwrap_or_else(|| quote!(&__RATELIMIT)));
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
fn call(handler: &Handler, policy: &TokenStream) -> TokenStream {
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
    let call = quote!(__ratelimit::limited(#policy, __ratelimit_incoming, #original).await);
    respan(call, located(place))
}
