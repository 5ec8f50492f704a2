//! The source files of the workspace, as text and by module.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::artifacts::workspace;
use crate::expansion::read;

/// Every Rust file of a folder of the workspace, with its text.
pub(crate) fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect(&workspace().join(folder), &mut files);
    files
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.clone(), read(path)));
        }
    }
}

/// The source files of a crate by their module path.
pub(crate) fn modules(crate_folder: &str) -> BTreeMap<String, String> {
    let root = workspace().join(crate_folder).join("src");
    let files = rust_files(&format!("{crate_folder}/src")).into_iter().map(|(path, text)| {
        let name = path.strip_prefix(&root).expect("a file of the folder").with_extension("");
        let module: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
        (module.join("::"), text)
    });
    files.collect()
}

/// The name of the function whose head is on this line, whatever its visibility and its qualifiers are.
pub(crate) fn function_name(line: &str) -> Option<&str> {
    const QUALIFIERS: [&str; 6] = ["pub", "const", "async", "unsafe", "extern", "default"];
    let (before, after) = code_of(line).split_once("fn ")?;
    let is_qualifier = |word: &str| {
        QUALIFIERS.contains(&word) || word.starts_with("pub(") || word.ends_with(')') || word.starts_with('"')
    };
    let name = after.split(|char: char| !(char.is_alphanumeric() || char == '_')).next()?;
    (before.split_whitespace().all(is_qualifier) && !name.is_empty()).then_some(name)
}

/// The line without its indent, or nothing if it is a comment or an attribute.
fn code_of(line: &str) -> &str {
    let line = line.trim_start();
    if line.starts_with("//") || line.starts_with('#') { "" } else { line }
}

#[test]
fn functions_are_recognised_by_any_head() {
    for head in [
        "fn name() {",
        "    pub fn name<T>(",
        "pub(super) fn name()",
        "pub(in crate::rule) async fn name()",
        "pub const unsafe fn name()",
        "unsafe extern \"C\" fn name()",
    ] {
        assert_eq!(function_name(head), Some("name"), "{head}");
    }
    for other in ["let call: fn (u8) = f;", "// fn name() {", "type Name = fn(u8);", "Some(fn name", "fn $name() {"] {
        assert_eq!(function_name(other), None, "{other}");
    }
}
