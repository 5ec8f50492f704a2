//! What the documents say of the sources: lists that are complete, and links that lead somewhere.

use std::collections::BTreeSet;

use crate::artifacts::workspace;
use crate::expansion::{here, read};

/// The names in backquotes in the first column of the first table after `heading`.
fn first_column(document: &str, heading: &str) -> BTreeSet<String> {
    let table = document.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`")).1;
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
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
    let document = "ratelimit-macros/src/arguments.md";
    assert_eq!(first_column(&read(workspace().join(document)), "\n# Arguments\n"), expected, "{document}");
}

#[test]
fn the_store_of_the_guide_is_the_example() {
    let guide = read(workspace().join("ratelimit-runtime/src/guide/stores.md"));
    let example = read(workspace().join("examples/file_store/store.rs"));
    let code = guide.split("```no_run\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of code");
    let (_, after_imports) = code.split_once("};\n\n").expect("imports");
    let (_, items) = after_imports.split_once("\n\n").expect("items behind the imports");
    assert!(items.lines().count() > 40, "{items}");
    assert!(example.contains(items.trim_end()), "examples/file_store/store.rs is another one");
}

#[test]
fn the_architecture_names_each_layer_and_only_files_that_exist() {
    let architecture = read(workspace().join("ARCHITECTURE.md"));
    let source = workspace().join("ratelimit-runtime/src");
    for entry in std::fs::read_dir(&source).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_named = architecture.contains(&format!("`{name}`")) || architecture.contains(&format!("`{name}/`"));
        assert!(is_named || entry.path().with_extension("rs").exists() && entry.path().is_dir(), "no word of `{name}`");
    }
    let words = architecture.split(|char: char| char.is_whitespace() || "`,;:()".contains(char));
    for path in words.filter(|word| word.contains('/') && (word.ends_with(".rs") || word.ends_with(".lua"))) {
        let exists = [source.join(path), workspace().join(path)].iter().any(|path| path.exists());
        assert!(exists, "there is no {path}");
    }
    assert!(architecture.lines().count() <= 150, "a stranger reads no more than 150 lines");
    assert!(read(workspace().join("README.md")).lines().count() <= 200, "a stranger reads no more than 200 lines");
}

#[test]
fn each_link_of_a_document_to_a_file_leads_to_one() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "benches/README.md",
        "docs/decisions/README.md",
    ] {
        let text = read(workspace().join(document));
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let references =
            text.lines().filter(|line| line.starts_with('[')).filter_map(|line| Some(line.split_once("]: ")?.1));
        for link in inline.chain(references) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let folder = workspace().join(document).parent().map(std::path::Path::to_owned).unwrap_or_default();
            assert!(folder.join(path).exists(), "{document} has a link to `{link}`");
        }
    }
}

/// The codes in a text: `RL` and three digits.
fn codes(text: &str) -> BTreeSet<String> {
    let after = text.split("RL0").skip(1).filter_map(|rest| rest.get(..2));
    after
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|digits| format!("RL0{digits}"))
        .collect()
}

fn codes_of_folder(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            codes_of_folder(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // A code stands at the end of its message.
            found.extend(
                read(path).split("(RL").skip(1).flat_map(|rest| codes(&format!("RL{rest}")).into_iter().take(1)),
            );
        }
    }
}

#[test]
fn each_code_of_a_message_has_a_section_in_the_guide_and_no_other() {
    let source = workspace().join("ratelimit-runtime/src");
    let mut expected = BTreeSet::new();
    for layer in ["check", "http", "limiter", "rule", "store"] {
        codes_of_folder(&source.join(layer), &mut expected);
    }
    expected.extend(codes(&read(source.join("error.rs"))));
    assert!(expected.len() > 20, "{expected:?}");
    let guide = read(source.join("guide/errors.md"));
    let sections: Vec<_> = guide.lines().filter_map(|line| line.strip_prefix("## ")?.split(':').next()).collect();
    assert_eq!(sections, Vec::from_iter(&expected));
}
