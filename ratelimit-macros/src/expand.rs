//! The output, all of it.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{GenericParam, Path, ReturnType, Signature, Token, WherePredicate, parse_quote};

use crate::args::{Args, Limit};
use crate::handler::Handler;
use crate::value::{Algorithm, Cost, Key, Number, OnStoreError, OverLimit, Scope, plain};

/// The function that Actix calls: the policy, the handler as it was written, and the call that joins them.
pub(crate) fn expand(handler: &Handler, policy: &[Args], runtime: &Path) -> TokenStream {
    let private = quote!(#runtime::__private);
    let Handler { outside, inside, vis, sig, body, .. } = handler;
    let outer = signature(handler, runtime);
    let rules = policy.iter().flat_map(|args| args.limits.iter().map(|limit| rule(args, limit, &private)));
    let call = call(handler, &private);
    let mut block = Group::new(
        Delimiter::Brace,
        quote! {
            static __RATELIMIT: #private::Policy = #private::Policy::new(&[#(#rules),*]);
            #(#inside)*
            #sig #body
            #call
        },
    );
    block.set_span(body.span());
    quote!(#(#outside)* #vis #outer #block)
}

/// The handler's own signature, but for what goes in and comes out.
///
/// Its parts keep their places: the compiler warns of a function that is never used only if it is all the user's.
fn signature(handler: &Handler, runtime: &Path) -> Signature {
    let mut sig = handler.sig.clone();
    sig.asyncness.get_or_insert(Token![async](sig.fn_token.span));
    sig.inputs = parse_quote!(__ratelimit_incoming: #runtime::__private::Incoming);
    let response = exported(quote!(HttpResponse), runtime, place(&handler.sig));
    sig.output = parse_quote!(-> #response);

    let mut bounds: Vec<WherePredicate> = Vec::new();
    for parameter in sig.generics.type_params_mut() {
        if parameter.bounds.is_empty() {
            let name = &parameter.ident;
            bounds.push(parse_quote!(#name: 'static));
        } else {
            // Beside the others: clippy has an opinion on bounds in two places.
            parameter.bounds.push(parse_quote!('static));
        }
    }
    // A type that is no extractor would be an error at the call too, but a bound is reported at the type, and once.
    // With a lifetime of the handler, it would hold for that one alone, where an extractor needs `'static`.
    if sig.generics.lifetimes().next().is_none() {
        bounds.extend(handler.extractors().map(|ty| -> WherePredicate {
            let end = ty.to_token_stream().into_iter().last().map_or_else(Span::call_site, |token| token.span());
            let from_request = exported(quote!(FromRequest), runtime, end);
            parse_quote!(#ty: #from_request)
        }));
    }
    if !bounds.is_empty() {
        sig.generics.make_where_clause().predicates.extend(bounds);
    }
    sig
}

/// A type of the runtime, at a place of the user's.
fn exported(name: TokenStream, runtime: &Path, place: Span) -> TokenStream {
    // Of a path that is not absolute, a lint may think that it is longer than need be. It keeps quiet about macros.
    let span = if runtime.leading_colon.is_some() { place } else { Span::call_site().located_at(place) };
    respan(quote!(#runtime::__private::#name), span)
}

/// Where a handler says what it answers, or else its name.
fn place(sig: &Signature) -> Span {
    match &sig.output {
        ReturnType::Default => sig.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    }
}

/// The call of the original, at the place of its return type, where the compiler then reports a type that is no
/// `Responder`.
fn call(handler: &Handler, private: &TokenStream) -> TokenStream {
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
    let call = quote!(#private::limited(&__RATELIMIT, __ratelimit_incoming, #original).await);
    respan(call, Span::call_site().located_at(place))
}

/// One rule of the policy: what differs from `Rule::new`, and the scope for the reader.
fn rule(args: &Args, Limit { limit, per }: &Limit, private: &TokenStream) -> TokenStream {
    // A parameter of a closure must not hide a function of the user that is called `request`.
    let request = Ident::new("request", Span::mixed_site());
    let state = Ident::new("state", Span::mixed_site());
    let algorithm = args.algorithm.as_ref().and_then(|algorithm| match algorithm {
        Algorithm::FixedWindow => None,
        Algorithm::SlidingWindow => Some(quote!(.sliding_window())),
        Algorithm::Gcra => Some(checked("gcra", args.burst.as_ref().unwrap_or(limit), private)),
    });
    let stagger = args.stagger.then(|| quote!(.stagger()));
    let scopes = args.scopes.iter().map(|scope| match scope {
        Scope::Ip => quote!(#private::Scope::Ip),
        Scope::User => quote!(#private::Scope::User),
        Scope::Global => quote!(#private::Scope::Global),
        Scope::Header(name) => quote!(#private::Scope::Header(#name)),
        Scope::Function(path) => {
            let name = plain(path);
            quote!(#private::Scope::Function(#name, |#request| #private::scope(#request, #path)))
        }
    });
    let key = args.key.as_ref().map(|key| match key {
        Key::Literal(key) => quote!(.key(#key)),
        Key::Function(path) => {
            let name = plain(path);
            quote!(.key_function(#name, |#request| #private::scope(#request, #path)))
        }
    });
    let cost = args.cost.as_ref().map(|cost| match cost {
        Cost::Number(number) => checked("cost", number, private),
        Cost::Function(path) => {
            let name = plain(path);
            quote!(.cost_function(#name, |#request| #private::cost(#request, #path)))
        }
    });
    let count_if = args.count_if.as_ref().map(|path| quote!(.count_if(#path)));
    let exempt = args.exempt.as_ref().map(|path| {
        let name = plain(path);
        quote!(.exempt(#name, |#request| #private::exempt(#request, #path)))
    });
    let methods = (!args.methods.is_empty()).then(|| {
        let methods = &args.methods;
        quote!(.methods(&[#(#methods),*]))
    });
    let over_limit = args.over_limit.as_ref().map(|over_limit| match over_limit {
        OverLimit::Allow => quote!(.shadow()),
        OverLimit::Function(path) => {
            quote!(.over_limit(|#request, #state| #private::respond(#request, #state, #path)))
        }
    });
    let headers = (!args.send_x_headers).then(|| quote!(.without_x_headers()));
    let on_store_error = args.on_store_error.as_ref().map(|answer| {
        let answer = match answer {
            OnStoreError::Local => quote!(Local),
            OnStoreError::Allow => quote!(Allow),
            OnStoreError::Deny => quote!(Deny),
        };
        quote!(.on_store_error(#private::OnStoreError::#answer))
    });
    let lease = args.lease.as_ref().map(|lease| checked("lease", lease, private));
    let fixed_cost = match &args.cost {
        Some(Cost::Number(number)) => Some(number),
        _ => None,
    };
    let asserted = args.burst.iter().chain(fixed_cost).chain(&args.lease);
    let new = respan(quote!(#private::Rule::new), place_of(asserted));
    let limit = new_limit(limit, per, private);
    quote! {
        #new(#limit) #algorithm #stagger .scope(&[#(#scopes),*]) #key #cost #count_if #exempt #methods
            #over_limit #headers #on_store_error #lease
    }
}

/// A call that asserts the range of a number, at its place. The compiler reports one out of range from the first token
/// of the whole expression to the last of this call, so the first is to be at that place too.
fn checked(method: &str, value: &Number, private: &TokenStream) -> TokenStream {
    let method = Ident::new(method, Span::call_site().located_at(value.span()));
    let value = number(value, private);
    quote_spanned!(method.span()=> .#method(#value))
}

/// Where the compiler is to report one of these that is out of range: at the first `const`, or else the first of all.
fn place_of<'a>(numbers: impl IntoIterator<Item = &'a Number>) -> Span {
    let first = numbers.into_iter().min_by_key(|number| !number.is_const());
    first.map_or_else(Span::call_site, |number| Span::call_site().located_at(number.span()))
}

/// The limit, which asserts its own range.
fn new_limit(limit: &Number, per: &Number, private: &TokenStream) -> TokenStream {
    let place = place_of([limit, per].into_iter().filter(|number| number.is_const()));
    let (limit, per) = (number(limit, private), number(per, private));
    let new = respan(quote!(#private::Limit::new), place);
    quote_spanned!(place=> #new(#limit, #per))
}

/// A number as the runtime takes it: wide enough for any value of a `const`, which must be an integer.
fn number(number: &Number, private: &TokenStream) -> TokenStream {
    match number {
        Number::Literal(number, span) => {
            let mut literal = Literal::u32_unsuffixed(*number);
            literal.set_span(*span);
            literal.into_token_stream()
        }
        Number::Const(path) => {
            let integer = respan(quote!(#private::integer), Span::call_site().located_at(path.span()));
            quote_spanned!(path.span()=> #integer(#path) as i128)
        }
    }
}

/// The same tokens, elsewhere for the compiler's messages.
fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(respan).collect()
}
