//! The function below the attribute: what it must be, and where its other attributes go.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt as _};
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, FnArg, LitStr, Meta, Path, Result, ReturnType, Safety, Signature, Type, TypeParamBound,
    Visibility,
};

use crate::errors::Errors;

/// Actix implements its `Handler` for functions of so many arguments.
const MOST_ARGUMENTS: usize = 16;

/// A handler, sorted for the two functions of the output. The body is not parsed.
pub(crate) struct Handler {
    /// The attributes of the function that Actix calls.
    pub(crate) outside: Vec<Attribute>,
    /// The attributes of the function as it was written.
    pub(crate) inside: Vec<Attribute>,
    /// The other `#[ratelimit]`, from top to bottom.
    pub(crate) limits: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Inside,
    Limits,
}

impl Place {
    /// Whether an attribute belongs to the function that Actix calls, or to the one that was written.
    ///
    /// Lint levels hold in all of an item, so on the outer function they reach the inner one, too; an `expect` on both would be unfulfilled
    /// once. A `deprecated` inner function would be reported where the outer one calls it. `cfg_attr` never gets here: the compiler
    /// replaces it before it calls an attribute.
    fn of(attribute: &Attribute) -> Self {
        let path = attribute.path();
        let name = path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        match name.as_str() {
            "ratelimit" => Self::Limits,
            _ if is_route(&name, attribute) => Self::Outside,
            "allow" | "warn" | "deny" | "forbid" | "expect" | "doc" | "cfg" | "deprecated" | "must_use"
                if path.is_ident(&name) =>
            {
                Self::Outside
            }
            _ => Self::Inside,
        }
    }
}

/// Whether an attribute is one of Actix's, which may be written by path. Others have attributes of the same names; only Actix's
/// begin with the path of a URL, and only its `routes` has no arguments.
fn is_route(name: &str, attribute: &Attribute) -> bool {
    const ROUTES: [&str; 10] =
        ["get", "post", "put", "delete", "head", "connect", "options", "trace", "patch", "route"];

    let begins_with_text = |input: ParseStream<'_>| {
        input.parse::<LitStr>()?;
        input.parse::<TokenStream>()
    };
    match &attribute.meta {
        Meta::Path(_) => name == "routes",
        Meta::List(list) => ROUTES.contains(&name) && list.parse_args_with(begins_with_text).is_ok(),
        Meta::NameValue(_) => false,
    }
}

impl Parse for Handler {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let keyword = input.cursor().ident().map(|(keyword, _)| keyword);
        let sig = input.parse().map_err(|error| match keyword {
            Some(keyword) => no_function(&keyword.to_string()).map_or(error, |it| Error::new(keyword.span(), it)),
            None => error,
        })?;
        let body = match input.parse()? {
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => body,
            token => return Err(Error::new(token.span(), "a handler needs a body: `#[ratelimit]` wraps it")),
        };
        let (mut outside, mut inside, mut limits) = (Vec::new(), Vec::new(), Vec::new());
        for attribute in attributes {
            match Place::of(&attribute) {
                Place::Outside => outside.push(attribute),
                Place::Inside => inside.push(attribute),
                Place::Limits => limits.push(attribute),
            }
        }
        Ok(Self { outside, inside, limits, vis, sig, body })
    }
}

/// The message for another item that begins with this keyword.
fn no_function(keyword: &str) -> Option<String> {
    match keyword {
        "impl" | "trait" | "mod" => {
            Some(format!("`#[ratelimit]` goes on a handler function: write it on each one in this `{keyword}`"))
        }
        "struct" | "enum" | "union" | "type" | "static" | "use" | "macro_rules" => {
            Some(format!("`#[ratelimit]` goes on a handler function, not on this `{keyword}`"))
        }
        _ => None,
    }
}

/// Whether a function seems to return a future. The compiler reports other types that are none.
fn is_no_future(output: &ReturnType) -> bool {
    const ANSWERS: [&str; 6] = ["HttpResponse", "Json", "Option", "Responder", "Result", "String"];

    let is_answer =
        |path: &Path| path.segments.last().is_some_and(|last| ANSWERS.iter().any(|name| last.ident == name));
    match output {
        ReturnType::Default => true,
        ReturnType::Type(_, ty) => match &**ty {
            Type::Reference(_) | Type::Tuple(_) => true,
            Type::Path(ty) => is_answer(&ty.path),
            Type::ImplTrait(ty) => {
                ty.bounds.iter().any(|bound| matches!(bound, TypeParamBound::Trait(bound) if is_answer(&bound.path)))
            }
            _ => false,
        },
    }
}

impl Handler {
    /// Checks for what the compiler would refuse in the output, in words that do not fit the input.
    pub(crate) fn check(&self, errors: &mut Errors) {
        let sig = &self.sig;
        if let Some((ty, message)) = sig.inputs.iter().find_map(no_handlers_argument) {
            errors.push(ty, message);
            return;
        }
        for attribute in self.inside.iter().filter(|attribute| is_utoipa(attribute.path())) {
            let message =
                "write this above `#[ratelimit]`: it reads the arguments of the handler, which are hidden here";
            errors.push(attribute.path(), message);
        }
        if sig.asyncness.is_none() && is_no_future(&sig.output) {
            errors.push(sig.fn_token, "a handler is `async`, or returns a future: write `async fn`");
        }
        if let Some(token) = &sig.constness {
            errors.push(token, "a handler cannot be `const`: remove it");
        }
        if let Safety::Unsafe(token) = &sig.safety {
            errors.push(token, "a handler cannot be `unsafe`, Actix calls it: put an `unsafe` block in its body");
        }
        if let Some(abi) = &sig.abi {
            errors.push(abi, "a handler cannot be `extern`, Actix calls it from Rust: remove it");
        }
        for argument in &sig.inputs {
            match argument {
                FnArg::Receiver(receiver) => {
                    let message = "a handler has no `self`: take what it needs as an argument, such as `web::Data<…>`";
                    errors.push(receiver, message);
                }
                FnArg::Typed(argument) => check_type(&argument.ty, errors),
            }
        }
        if let Some(argument) = self.extractors().nth(MOST_ARGUMENTS) {
            let message = "Actix calls handlers of up to 16 arguments: join some in a tuple, which is an extractor too";
            errors.push(argument, message);
        }
    }

    /// The types of the arguments. One that a `cfg` may remove is left out, as a `where` clause cannot follow it.
    pub(crate) fn extractors(&self) -> impl Iterator<Item = &Type> {
        let may_vanish = |it: &Attribute| it.path().is_ident("cfg") || it.path().is_ident("cfg_attr");
        self.sig.inputs.iter().filter_map(move |argument| match argument {
            FnArg::Typed(argument) if !argument.attrs.iter().any(may_vanish) => Some(&*argument.ty),
            _ => None,
        })
    }
}

/// The message about an argument whose type no handler has.
fn no_handlers_argument(argument: &FnArg) -> Option<(&Type, &'static str)> {
    let FnArg::Typed(argument) = argument else { return None };
    let ty = match &*argument.ty {
        Type::Reference(reference) => &*reference.elem,
        ty => ty,
    };
    let Type::Path(path) = ty else { return None };
    let message = match path.path.segments.last()?.ident.to_string().as_str() {
        "ServiceConfig" => "this function registers handlers: write `#[ratelimit]` on each of them",
        "ServiceRequest" => "this function is a middleware: write `#[ratelimit]` on the handlers behind it",
        _ => return None,
    };
    Some((&argument.ty, message))
}

fn is_utoipa(path: &Path) -> bool {
    path.segments.last().is_some_and(|last| last.ident == "path")
}

fn check_type(ty: &Type, errors: &mut Errors) {
    if let Type::Reference(reference) = ty
        && reference.lifetime.is_none()
    {
        errors.push(ty, "a handler takes its arguments by value: remove the `&`");
    }
    if let Some(token) = borrowed_content(ty) {
        let message =
            "this extractor gives what it has read by value: write an owned type, such as `String` for `&str`";
        errors.push(token, message);
    }
    if let Some(token) = find_impl(ty.to_token_stream()) {
        let message = "Actix cannot tell the type of this argument: name it, or a type parameter of the handler";
        errors.push(token, message);
    }
}

/// The first `&` within an extractor that deserializes what it gives, which can borrow from nothing.
fn borrowed_content(ty: &Type) -> Option<TokenTree> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let deserializes = ["Path", "Query", "Json", "Form"].iter().any(|name| last.ident == name);
    let is_reference = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '&');
    let arguments = last.arguments.to_token_stream();
    deserializes.then(|| arguments.into_iter().find(is_reference)).flatten()
}

fn find_impl(tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => find_impl(group.stream()),
        TokenTree::Ident(ref ident) if ident == "impl" => Some(token),
        _ => None,
    })
}

/// The function as it was written, without its limits.
impl ToTokens for Handler {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(self.outside.iter().chain(&self.inside));
        self.vis.to_tokens(tokens);
        self.sig.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn attributes_are_sorted() {
        let handler: Handler = parse_quote! {
            /// Documented.
            #[get("/")]
            #[ratelimit("10/s")]
            #[actix_web::post("/")]
            #[routes]
            #[cfg(unix)]
            #[expect(unused_variables)]
            #[tracing::instrument(fields(id = body.id))]
            #[inline]
            #[deprecated]
            #[ratelimit_runtime::ratelimit("1000/h")]
            #[trace(level = "info")]
            #[fastrace::trace]
            #[trace("/", name = "trace")]
            #[route("/", method = "GET")]
            #[other::routes(all)]
            #[other::expect(x > 0)]
            async fn handler() {}
        };
        let names = |attributes: &[Attribute]| -> Vec<String> {
            attributes.iter().map(|it| it.path().to_token_stream().to_string().replace(' ', "")).collect()
        };
        assert_eq!(
            names(&handler.outside),
            ["doc", "get", "actix_web::post", "routes", "cfg", "expect", "deprecated", "trace", "route"]
        );
        assert_eq!(
            names(&handler.inside),
            ["tracing::instrument", "inline", "trace", "fastrace::trace", "other::routes", "other::expect"]
        );
        assert_eq!(names(&handler.limits), ["ratelimit", "ratelimit_runtime::ratelimit"]);
    }
}
