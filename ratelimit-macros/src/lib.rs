//! The attribute of [`ratelimit-runtime`](https://docs.rs/ratelimit-runtime), which exports it as
//! `ratelimit_runtime::ratelimit`. Use it from there: its output names that crate.

mod args;
mod constant;
mod definition;
mod durations;
mod errors;
mod expand;
mod handler;
mod methods;
mod policy;
mod rate;
mod size;
mod suggest;
mod validate;
mod value;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Error;
use syn::spanned::Spanned as _;

use crate::args::Args;
use crate::definition::Definition;
use crate::errors::Errors;
use crate::expand::Mark;
use crate::handler::Handler;

#[doc = include_str!("arguments.md")]
#[proc_macro_attribute]
pub fn ratelimit(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    output(arguments.into(), item.into()).into()
}

#[doc = include_str!("policy.md")]
#[proc_macro]
pub fn policy(arguments: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let mut errors = Errors::default();
    let Definition { key, rules } = Definition::parse(arguments.into(), &mut errors);
    rules.iter().for_each(|args| validate::attribute(args, &mut errors));
    let runtime = validate::policy(&rules, &mut errors);
    match key {
        Some(key) if errors.is_empty() => policy::value(&quote!(#key), &rules, &runtime),
        _ => quote!({ #errors }),
    }
    .into()
}

fn output(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if Mark::is(&arguments) {
        return item;
    }
    let mut errors = Errors::default();
    let mut policy = vec![arguments_of(arguments, Span::call_site(), &mut errors)];
    let Some(handler) = errors.keep(syn::parse2::<Handler>(item.clone())) else {
        return quote!(#errors #item);
    };
    for attribute in &handler.limits {
        if let Some(list) = errors.keep(attribute.meta.require_list()) {
            if Mark::is(&list.tokens) {
                errors.add(Error::new(Span::call_site(), OTHER_NAME));
                continue;
            }
            policy.push(arguments_of(list.tokens.clone(), attribute.path().span(), &mut errors));
        }
    }
    handler.check(&mut errors);
    validate::surroundings(&policy, &handler.sig, &mut errors);
    let runtime = validate::policy(&policy, &mut errors);
    if errors.is_empty() {
        expand::expand(&handler, &policy, &runtime)
    } else {
        // The handler stays, without its limits, so that no error follows from its absence.
        quote!(#errors #handler)
    }
}

/// The arguments of the attribute at `span`. Where this adds an error, the result is of no use.
fn arguments_of(tokens: TokenStream, span: Span, errors: &mut Errors) -> Args {
    let args = Args::parse(tokens, span, errors);
    validate::attribute(&args, errors);
    args
}

const OTHER_NAME: &str = "another `#[ratelimit]` stands above, and one of the two has another name, so that they would be \
                          two decisions: write `#[ratelimit_runtime::ratelimit(…)]` for both";
