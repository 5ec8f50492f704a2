//! The modules that a module names: in `use` items and in paths within its code, macros included.
//!
//! The source is read as tokens. So comments, links in documentation and strings name nothing.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::source_files::modules;

/// The modules that each module of a crate names. `lib` and `guide` name all by their purpose.
pub(crate) fn import_graph(crate_folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = modules(crate_folder);
    // Modules that are compiled for unit tests alone may look at whatever they test.
    let is_test = |module: &str| module.ends_with("::tests") || module.starts_with("store::memory::model_tests");
    files.retain(|module, _| !is_test(module) && module != "lib" && module != "guide");
    let known: BTreeSet<String> = files.keys().cloned().collect();
    files.into_iter().map(|(module, text)| (module.clone(), imports(&module, &text, &known))).collect()
}

/// The modules out of `known` that the text of `module` names.
fn imports(module: &str, text: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{module}: {error}"));
    let base: Vec<String> = module.split("::").map(str::to_owned).collect();
    let mut scan = Scan { known, names: BTreeMap::new(), found: BTreeSet::new() };
    // First the names that `use` items bring, then the paths that begin with them.
    for _ in 0..2 {
        scan.tokens(tokens.clone(), &base);
    }
    scan.found.remove("");
    scan.found.remove(module);
    scan.found
}

struct Scan<'a> {
    known: &'a BTreeSet<String>,
    /// Modules that the code may name without `crate` or `super`, by that name.
    names: BTreeMap<String, Vec<String>>,
    found: BTreeSet<String>,
}

impl Scan<'_> {
    /// Scans the tokens of a module, of a block, or of a macro's input.
    fn tokens(&mut self, tokens: TokenStream, base: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while index < tokens.len() {
            if is_word(&tokens[index], "mod")
                && let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(index + 1), tokens.get(index + 2))
            {
                let is_for_tests = index >= 2 && tokens[index - 1].to_string().replace(' ', "") == "[cfg(test)]";
                if !is_for_tests {
                    self.tokens(body.stream(), &[base, &[name.to_string()]].concat());
                }
                index += 3;
            } else if is_word(&tokens[index], "pub") && matches!(tokens.get(index + 1), Some(TokenTree::Group(_))) {
                // A visibility is no import.
                index += 2;
            } else if let TokenTree::Group(group) = &tokens[index] {
                self.tokens(group.stream(), base);
                index += 1;
            } else if is_path_start(&tokens, index) {
                index = self.path(&tokens, index, base, &[]);
            } else {
                index += 1;
            }
        }
    }

    /// Reads the path or the tree of a `use` that starts at `index`, after the segments in `prefix`. Returns the index after it.
    fn path(&mut self, tokens: &[TokenTree], mut index: usize, base: &[String], prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        loop {
            match tokens.get(index) {
                Some(TokenTree::Ident(name)) => segments.push(name.to_string()),
                Some(TokenTree::Group(tree)) if tree.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = tree.stream().into_iter().collect();
                    let mut inner_index = 0;
                    while inner_index < inner.len() {
                        if matches!(&inner[inner_index], TokenTree::Punct(punct) if punct.as_char() == ',') {
                            inner_index += 1;
                            continue;
                        }
                        inner_index = self.path(&inner, inner_index, base, &segments).max(inner_index + 1);
                    }
                    return index + 1;
                }
                _ => break,
            }
            index += 1;
            if !is_separator(tokens, index) {
                break;
            }
            index += 2;
        }
        let mut name = segments.iter().rfind(|segment| *segment != "self").cloned().unwrap_or_default();
        if tokens.get(index).is_some_and(|token| is_word(token, "as")) {
            name = tokens.get(index + 1).map(TokenTree::to_string).unwrap_or_default();
            index += 2;
        }
        self.add(segments, name, base);
        index
    }

    /// Adds the module that a path names, or that has the item which it names.
    fn add(&mut self, segments: Vec<String>, name: String, base: &[String]) {
        let mut rest = segments.into_iter().peekable();
        // Without `crate` or `super`, a path begins with a name of this file, a module of it, or another crate.
        let mut full = match rest.peek().and_then(|first| self.names.get(first)) {
            Some(module) => {
                rest.next();
                module.clone()
            }
            None if rest.peek().is_some_and(|first| first == "crate") => Vec::new(),
            None => base.to_vec(),
        };
        for segment in rest {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(full.pop()),
                _ => full.push(segment),
            }
        }
        if self.known.contains(&full.join("::")) && full != base {
            self.names.insert(name, full.clone());
        }
        while !full.is_empty() && !self.known.contains(&full.join("::")) {
            full.pop();
        }
        self.found.insert(full.join("::"));
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_separator(tokens: &[TokenTree], index: usize) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(tokens.get(index)) && is_colon(tokens.get(index + 1))
}

/// Whether a path of several segments starts here. One after `::` begins in another crate, or goes on.
fn is_path_start(tokens: &[TokenTree], index: usize) -> bool {
    let goes_on = index >= 2 && is_separator(tokens, index - 2);
    matches!(tokens[index], TokenTree::Ident(_)) && is_separator(tokens, index + 1) && !goes_on
}

#[test]
fn paths_in_code_are_imports() {
    let known = ["a", "a::b", "a::b::c", "a::d", "e", "e::f"].map(str::to_owned).into();
    let of_b = |text: &str| imports("a::b", text, &known).into_iter().collect::<Vec<_>>().join(" ");
    for (text, expected) in [
        ("use crate::{e::{f::Item, self as other}, a::d};", "a::d e e::f"),
        ("fn f() { crate::e::f::call(1) }", "e::f"),
        ("fn f() { super::d::call() }", "a::d"),
        ("fn f() { assert!(crate::e::f::is()) }", "e::f"),
        ("fn f(x: Vec<crate::e::Type>) -> c::Type { todo!() }", "a::b::c e"),
        ("mod inner { fn f() { super::super::d::call() } }", "a::d"),
        ("use crate::e; fn f() { e::f::call() }", "e e::f"),
        ("use crate::e as other; fn f() { other::f::call() }", "e e::f"),
        ("pub(in crate::e) fn f() {}", ""),
        ("// crate::e::f::call()\n/// [`x`](crate::e::f)\nfn f() { \"crate::e::f\"; }", ""),
        ("fn f() { std::e::f(); ::e::f(); Self::e(); e.f(); }", ""),
        ("#[cfg(test)]\nmod tests { use crate::e::f; }", ""),
    ] {
        assert_eq!(of_b(text), expected, "{text}");
    }
}
