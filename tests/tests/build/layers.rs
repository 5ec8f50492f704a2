//! The layers of the sources: a file imports from the layers before its own, and never in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::import_graph;

/// The layers of the runtime, from the first to the last. Each imports from those before it.
const RUNTIME: &[&str] = &[
    "error",
    "decision",
    "counter",
    "rule",
    "store",
    "limiter",
    "check",
    "http",
    "bench_internals",
    "testing",
    "codegen",
];

/// The files of the macro crate, in the same order.
const MACROS: &[&str] = &[
    "errors",
    "suggest",
    "rate",
    "size",
    "constant",
    "value",
    "durations",
    "methods",
    "args",
    "definition",
    "validate",
    "handler",
    "policy",
    "expand",
];

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
        let graph = import_graph(folder);
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
        let graph = import_graph(folder);
        for module in graph.keys() {
            let circle = circle(module, &graph);
            assert_eq!(circle, None, "{folder}: move what the files of this circle share to a file of its own");
        }
    }
}
