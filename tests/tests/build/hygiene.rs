//! No item of a user's changes what the attribute's output means, of whatever kind and name it is.

use std::collections::BTreeSet;
use std::fs;

use proc_macro2::{TokenStream, TokenTree};

use crate::alone;
use crate::expansion::{errors_of, expand, here, limited_functions, read};

/// Handlers with every argument.
const HANDLERS: &str = "expand/hygiene.rs";

/// Names that do not stand in the output of the compiler's last stage, or that an output could come to have.
const MORE_NAMES: [&str; 34] = [
    "concat",
    "module_path",
    "stringify",
    "line",
    "file",
    "panic",
    "assert",
    "vec",
    "format",
    "state",
    "request",
    "incoming",
    "response",
    "handler",
    "limit",
    "policy",
    "function",
    "str",
    "bool",
    "u32",
    "u64",
    "i128",
    "usize",
    "Option",
    "Some",
    "None",
    "Result",
    "Ok",
    "Box",
    "Send",
    "Sync",
    "Fn",
    "std",
    "core",
];

/// A user cannot have these, as the documentation says.
const RESERVED: &str = "__ratelimit";

/// What the names of the handlers' own items and arguments begin with.
const OWN: &str = "own";

/// Every name in the output that is not the user's, nor a keyword.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::from(MORE_NAMES.map(str::to_owned));
    collect(limited_functions(&expand(&here(HANDLERS))).parse().expect("tokens"), &mut names);
    names.retain(|name| {
        let is_taken = [RESERVED, OWN].iter().any(|prefix| name.to_lowercase().starts_with(prefix));
        !is_taken && syn::parse_str::<syn::Ident>(name).is_ok()
    });
    for name in
        ["Policy", "Rule", "Scope", "i128", "concat", "ratelimit_runtime", "actix_web", "limited", "gcra", "get"]
    {
        assert!(names.contains(name), "{name} is missing in {names:?}");
    }
    names
}

fn collect(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), names),
            TokenTree::Ident(ident) => drop(names.insert(ident.to_string())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// A module of the handlers, and one item of a kind for each name.
fn module(kind: &str, item: &str, names: &BTreeSet<String>, handlers: &str) -> String {
    let items: String = names.iter().map(|name| item.replace("NAME", name) + "\n").collect();
    format!("mod own_{kind} {{\n{items}\n{handlers}\n}}\n")
}

/// Compiles modules of the handlers beside items of each kind.
fn compile(kinds: &[(&str, &str)]) {
    let names = names();
    let handlers = read(here(HANDLERS));
    let modules = kinds.iter().map(|(kind, item)| module(kind, item, &names, &handlers));
    let text = format!("#![allow(warnings)]\n{}", modules.collect::<String>());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("hygiene.rs");
    fs::write(&source, text).expect("the file is written");
    let errors = errors_of(&source);
    assert!(errors.is_empty(), "{errors}");
}

#[test]
fn no_item_that_is_a_value_or_a_pattern_changes_what_the_output_means() {
    let _alone = alone();
    compile(&[
        ("unit_structs", "struct NAME;"),
        ("tuple_structs", "struct NAME();"),
        ("constants", "const NAME: () = ();"),
        ("statics", "static NAME: () = ();"),
        ("functions", "fn NAME() {}"),
    ]);
}

#[test]
fn no_item_that_is_a_type_or_a_module_changes_what_the_output_means() {
    let _alone = alone();
    compile(&[
        ("modules", "mod NAME {}"),
        ("traits", "trait NAME {}"),
        ("aliases", "type NAME = ();"),
        ("enums", "enum NAME {}"),
        ("unions", "union NAME { own: () }"),
    ]);
}

#[test]
fn no_macro_and_no_method_of_a_trait_changes_what_the_output_means() {
    let _alone = alone();
    compile(&[
        ("macros", "macro_rules! NAME { () => {} }"),
        ("absent_prelude", "#![no_implicit_prelude]"),
        (
            "methods_by_value",
            "mod trait_NAME { pub trait Own: Sized { fn NAME(self) {} } impl<T> Own for T {} } use trait_NAME::Own as _;",
        ),
        (
            "methods_by_reference",
            "mod trait_NAME { pub trait Own { fn NAME(&self) {} } impl<T: ?Sized> Own for T {} } use trait_NAME::Own as _;",
        ),
        (
            "associated_functions",
            "mod trait_NAME { pub trait Own { fn NAME() {} } impl<T: ?Sized> Own for T {} } use trait_NAME::Own as _;",
        ),
    ]);
}
