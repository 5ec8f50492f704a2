//! The layers of the sources: a file imports from the layers before its own, and never in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::artifacts::workspace;
use crate::expansion::read;

/// The layers of the runtime, from the first to the last. Each imports from those before it.
const RUNTIME: &[&str] =
    &["error", "decision", "counter", "rule", "store", "limiter", "check", "http", "bench_internals", "codegen"];

/// The files of the macro crate, in the same order.
const MACROS: &[&str] = &[
    "errors",
    "suggest",
    "rate",
    "constant",
    "value",
    "methods",
    "args",
    "definition",
    "validate",
    "handler",
    "policy",
    "expand",
];

/// The longest file, in lines.
const LONGEST: usize = 400;

/// A source file by its module path, with its text up to its unit tests.
fn sources(crate_folder: &str) -> BTreeMap<String, String> {
    let folder = workspace().join(crate_folder).join("src");
    let mut files = BTreeMap::new();
    collect(&folder, &folder, &mut files);
    files
}

fn collect(folder: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, root, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("a file of the folder").with_extension("");
            let module: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
            let text = read(path.clone());
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            files.insert(module.join("::"), text);
        }
    }
    // Only compiled for unit tests, so they may look at whatever they test.
    files.retain(|module, _| {
        !module.ends_with("::tests")
            && !module.starts_with("store::memory::model")
            && module != "lib"
            && module != "guide"
    });
}

/// The paths of a tree of imports.
fn paths(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = rest.strip_suffix('}').expect("a tree that ends where it began");
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (index, char) in inner.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| paths(&format!("{}{part}", prefix.trim()))).collect()
}

/// What a file imports of its own crate, as the modules that it names.
fn imports(module: &str, text: &str, files: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let statements = text.split("use ").skip(1).filter_map(|rest| rest.split_once(';')).map(|(tree, _)| tree);
    for path in statements.filter(|tree| tree.starts_with("crate::") || tree.starts_with("super::")).flat_map(paths) {
        let mut base: Vec<&str> = module.split("::").collect();
        let mut rest: Vec<&str> = path.split("::").map(str::trim).collect();
        if rest.first() == Some(&"crate") {
            base.clear();
            rest.remove(0);
        }
        while rest.first() == Some(&"super") {
            base.pop();
            rest.remove(0);
        }
        let mut full = [base, rest].concat();
        while !full.is_empty() && !files.contains_key(&full.join("::")) {
            full.pop();
        }
        found.insert(full.join("::"));
    }
    // A child that is used by its bare name.
    let children = files.keys().filter_map(|other| other.strip_prefix(module)?.strip_prefix("::"));
    for child in children.filter(|child| !child.contains("::")) {
        if text
            .split(|char: char| !(char.is_alphanumeric() || "_:".contains(char)))
            .any(|word| word.starts_with(child) && word[child.len()..].starts_with("::"))
        {
            found.insert(format!("{module}::{child}"));
        }
    }
    found.remove("");
    found.remove(module);
    found
}

fn graph(crate_folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let files = sources(crate_folder);
    files.iter().map(|(module, text)| (module.clone(), imports(module, text, &files))).collect()
}

/// A circle that begins and ends at `start`, if there is one.
fn circle(start: &str, graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in &graph[way.last()?] {
            let longer = [&way[..], std::slice::from_ref(next)].concat();
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

#[test]
fn a_file_imports_only_from_the_layers_before_its_own() {
    for (folder, layers) in [("ratelimit-runtime", RUNTIME), ("ratelimit-macros", MACROS)] {
        let rank = |module: &str| {
            let layer = module.split("::").next().unwrap_or_default();
            let rank = layers.iter().position(|known| *known == layer);
            rank.unwrap_or_else(|| panic!("{folder}/src/{layer} is in no layer: add it to `layers.rs`"))
        };
        let graph = graph(folder);
        assert!(graph.values().map(BTreeSet::len).sum::<usize>() > graph.len(), "{graph:#?}");
        for (module, imports) in &graph {
            for import in imports {
                assert!(
                    rank(import) <= rank(module),
                    "{folder}: `{module}` imports `{import}`, which is in a later layer: move what both need to the earlier one"
                );
            }
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for folder in ["ratelimit-runtime", "ratelimit-macros"] {
        let graph = graph(folder);
        for module in graph.keys() {
            let circle = circle(module, &graph);
            assert_eq!(circle, None, "{folder}: move what the files of this circle share to a file of its own");
        }
    }
}

#[test]
fn no_source_file_is_longer_than_four_hundred_lines() {
    for folder in ["ratelimit-runtime", "ratelimit-macros"] {
        for (module, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= LONGEST, "{folder}: `{module}` has {lines} lines: give it one purpose, or two files");
        }
    }
}

/// The names of tests in the files of a folder, each with its file.
fn test_names(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            test_names(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(path.clone());
            let after = text.split("\n#[test]").skip(1).chain(text.split("\n#[actix_web::test]").skip(1));
            let names = after.filter_map(|rest| rest.split_once("fn ")?.1.split('(').next());
            found.extend(names.map(|name| (name.to_owned(), path.display().to_string())));
        }
    }
}

#[test]
fn no_two_tests_have_one_name() {
    let mut names = Vec::new();
    test_names(&workspace().join("tests/tests"), &mut names);
    assert!(names.len() > 300, "{} tests", names.len());
    names.sort();
    for pair in names.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "in {} and {}", pair[0].1, pair[1].1);
    }
}

/// The longest function, in lines.
const LONGEST_FUNCTION: usize = 60;

#[test]
fn no_function_is_longer_than_sixty_lines() {
    for folder in ["ratelimit-runtime", "ratelimit-macros"] {
        for (module, text) in sources(folder) {
            let lines: Vec<&str> = text.lines().collect();
            for (start, line) in lines.iter().enumerate() {
                let indent = line.len() - line.trim_start().len();
                let head = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
                let head = head.trim_start_matches("const ").trim_start_matches("async ");
                if !head.starts_with("fn ") {
                    continue;
                }
                let ends = |line: &str| {
                    line.len() - line.trim_start().len() == indent && line.trim_end().ends_with(['}', ';'])
                };
                let length = 1 + lines[start..].iter().position(|line| ends(line)).unwrap_or_default();
                assert!(
                    length <= LONGEST_FUNCTION,
                    "{folder}: `{head}` of `{module}` has {length} lines: take it apart"
                );
            }
        }
    }
}
