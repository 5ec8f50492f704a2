//! What the documents say of the sources: lists that are complete, and links that lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::artifacts::workspace;
use crate::expansion::{here, read};

/// The names in backquotes in the first column of the first table after `heading`.
fn first_column(document: &str, heading: &str) -> BTreeSet<String> {
    let table = document.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`")).1;
    let rows = table.lines().map(|line| line.trim_start_matches("/// "));
    let rows = rows.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let name = |row: &str| Some(row.split('|').nth(1)?.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned());
    rows.filter_map(name).collect()
}

#[test]
fn each_argument_of_the_attribute_is_documented_and_no_other() {
    let mistakes = read(here("ui/fail/unknown_argument.stderr"));
    let (_, names) = mistakes.split_once("There are ").expect("the compiler's list of all arguments");
    let names = names.lines().next().unwrap_or_default();
    let expected: BTreeSet<_> = names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
    assert!(expected.len() > 10, "{expected:?}");
    for (document, heading) in
        [("README.md", "\n## Arguments\n"), ("ratelimit-macros/src/lib.rs", "\n/// # Arguments\n")]
    {
        assert_eq!(first_column(&read(workspace().join(document)), heading), expected, "{document}");
    }
}

fn sources(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.insert(path.strip_prefix(workspace()).expect("a file of the workspace").to_owned());
        }
    }
}

#[test]
fn the_architecture_lists_each_source_file_and_no_other() {
    let mut expected = BTreeSet::new();
    for package in ["ratelimit-macros", "ratelimit-runtime"] {
        sources(&workspace().join(package).join("src"), &mut expected);
    }
    let architecture = read(workspace().join("ARCHITECTURE.md"));
    let layout = architecture.split("\n## Layout\n").nth(1).and_then(|layout| layout.split("```").nth(1));
    let mut package = "";
    let mut listed = BTreeSet::new();
    for line in layout.expect("the layout").lines() {
        let Some(path) = line.split_whitespace().next() else { continue };
        if !line.starts_with(' ') {
            package = path;
        } else if path.starts_with("src/") && path.ends_with(".rs") && package.starts_with("ratelimit-") {
            listed.insert(Path::new(package).join(path));
        }
    }
    assert_eq!(listed, expected);
}

#[test]
fn each_link_of_a_document_to_a_file_leads_to_one() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = read(workspace().join(document));
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let references =
            text.lines().filter(|line| line.starts_with('[')).filter_map(|line| Some(line.split_once("]: ")?.1));
        for link in inline.chain(references) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(workspace().join(path).exists(), "{document} has a link to `{link}`");
        }
    }
}
