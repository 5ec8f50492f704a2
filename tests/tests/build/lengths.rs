//! The lengths of files and functions, and the names of tests.

use crate::artifacts::workspace;
use crate::source_files::{function_name, modules, rust_files};

/// The longest file, in lines, unit tests included.
const LONGEST: usize = 400;

/// The longest function, in lines.
const LONGEST_FUNCTION: usize = 60;

/// The crates that users build.
const LIBRARIES: [&str; 2] = ["ratelimit-runtime", "ratelimit-macros"];

#[test]
fn no_source_file_is_longer_than_four_hundred_lines() {
    let folders = ["ratelimit-runtime", "ratelimit-macros", "tests/src", "tests/tests", "benches", "examples"];
    for (path, text) in folders.into_iter().flat_map(rust_files) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines: give it one purpose, or two files", path.display());
    }
}

#[test]
fn no_function_is_longer_than_sixty_lines() {
    for (module, text) in LIBRARIES.into_iter().flat_map(modules) {
        let lines: Vec<&str> = text.lines().collect();
        for (start, head) in lines.iter().enumerate() {
            let Some(name) = function_name(head) else { continue };
            let indent = |line: &str| line.len() - line.trim_start().len();
            let ends = |line: &str| indent(line) == indent(head) && line.trim_end().ends_with(['}', ';']);
            let length = 1 + lines[start..].iter().position(|line| ends(line)).unwrap_or_default();
            assert!(length <= LONGEST_FUNCTION, "`{name}` of `{module}` has {length} lines: take it apart");
        }
    }
}

/// The names of the tests in a file.
fn test_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut lines = text.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if line.starts_with("#[test]") || line.starts_with("#[actix_web::test") {
            names.extend(lines.by_ref().find_map(function_name_or_end).flatten());
        }
    }
    names
}

/// The function that an attribute belongs to: other attributes and comments may stand between. `$name` of a macro has no name.
fn function_name_or_end(line: &str) -> Option<Option<String>> {
    match function_name(line) {
        Some(name) => Some(Some(name.to_owned())),
        None => line.contains("fn $").then_some(None),
    }
}

#[test]
fn no_two_tests_have_one_name() {
    let folders = ["tests/tests", "ratelimit-runtime/src", "ratelimit-macros/src"];
    let mut names: Vec<(String, String)> = Vec::new();
    for (path, text) in folders.into_iter().flat_map(rust_files) {
        let file = path.strip_prefix(workspace()).unwrap_or(&path).display().to_string();
        names.extend(test_names(&text).into_iter().map(|name| (name, file.clone())));
    }
    assert!(names.len() > 400, "{} tests", names.len());
    names.sort();
    for pair in names.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "in {} and {}", pair[0].1, pair[1].1);
    }
}

#[test]
fn tests_are_found_by_their_attributes() {
    let text = "#[test]\nfn one() {}\nmod m {\n    #[actix_web::test]\n    // fn x()\n    #[cfg(fn_like)]\n    async fn two() {}\n}\n\
                #[test]\nfn $name() {}\nfn helper() {}\n";
    assert_eq!(test_names(text), ["one", "two"]);
}
