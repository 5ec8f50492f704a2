//! What the attribute writes is small enough to read: expansions, held against files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use syn::visit::{self, Visit};
use syn::{Item, ItemFn, ItemStatic};

use crate::alone;
use crate::artifacts::{libraries, workspace};

/// The README's handler, and what becomes of it.
const SOURCE: &str = "expand/quickstart.rs";
const EXPANDED: &str = "expand/quickstart.expanded.rs";

/// The lines that it may have.
const LONGEST: usize = 12;

/// The other arguments.
const ARGUMENTS: &str = "expand/arguments.rs";
const ARGUMENTS_EXPANDED: &str = "expand/arguments.expanded.rs";

/// Set it, and the file is written in place of being compared.
const OVERWRITE: &str = "EXPAND_OVERWRITE";

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The source after all macros, as `cargo expand` gets it. Rustc keeps that for its nightly versions; the variable
/// lets this one call through.
pub(crate) fn expand(source: &Path) -> String {
    let output = rustc(source).arg("-Zunpretty=expanded").env("RUSTC_BOOTSTRAP", "1").stderr(Stdio::inherit()).output();
    let output = output.expect("rustc runs");
    assert!(output.status.success(), "rustc cannot expand {}", source.display());
    String::from_utf8(output.stdout).expect("text")
}

/// What the compiler says of a source; nothing, if it compiles.
pub(crate) fn errors_of(source: &Path) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = rustc(source).arg("--emit=metadata").arg("--out-dir").arg(folder.path()).output().expect("rustc runs");
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

fn rustc(source: &Path) -> Command {
    /// Cargo may build a library twice, for a macro's tests too: this one is the runtime's.
    static ACTIX_WEB: OnceLock<&Path> = OnceLock::new();
    rustc_with(
        source,
        ACTIX_WEB.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let source = folder.path().join("same.rs");
            let text = "pub fn same(it: ratelimit_runtime::codegen::HttpResponse) -> actix_web::HttpResponse { it }";
            fs::write(&source, text).expect("the file is written");
            let is_same = |library: &&Path| {
                let mut rustc = rustc_with(&source, library);
                rustc.arg("--emit=metadata").arg("--out-dir").arg(folder.path());
                rustc.output().expect("rustc runs").status.success()
            };
            libraries("actix_web").find(is_same).expect("a library of actix-web that the runtime uses")
        }),
    )
}

fn rustc_with(source: &Path, actix_web: &Path) -> Command {
    let runtime = libraries("ratelimit_runtime").next().expect("the runtime");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg(source).args(["--edition", "2024", "--crate-type", "lib"]);
    rustc.arg("-L").arg(format!("dependency={}", runtime.parent().expect("a folder").display()));
    for (name, library) in [("ratelimit_runtime", runtime), ("actix_web", actix_web)] {
        rustc.arg("--extern").arg(format!("{name}={}", library.display()));
    }
    rustc
}

/// The functions of a file that are limited, and the policies in its statics.
struct Limited(Vec<Item>);

impl<'ast> Visit<'ast> for Limited {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        let is_alias = |statement: &syn::Stmt| matches!(statement, syn::Stmt::Item(Item::Use(_)));
        if function.block.stmts.iter().any(is_alias) {
            self.0.push(Item::Fn(function.clone()));
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        if matches!(*item.expr, syn::Expr::Block(_)) {
            self.0.push(Item::Static(item.clone()));
        }
    }
}

pub(crate) fn limited_functions(expanded: &str) -> String {
    let mut file = syn::parse_file(expanded).expect("Rust");
    let mut limited = Limited(Vec::new());
    limited.visit_file(&file);
    file.items = limited.0;
    file.attrs.clear();
    prettyplease::unparse(&file)
}

/// Holds the limited functions of `source` against `file`.
fn compare(source: &str, file: &str) {
    let expanded = limited_functions(&expand(&here(source)));
    assert!(!expanded.is_empty(), "no limited function in {source}");
    if std::env::var_os(OVERWRITE).is_some() {
        fs::write(here(file), &expanded).expect("the file is written");
    }
    let expected = read(here(file));
    assert!(expanded == expected, "{file} says:\n{expected}\nnow it is (set {OVERWRITE}=1 to keep it):\n{expanded}");
}

#[test]
fn the_expansion_of_the_readmes_handler_is_what_its_file_says() {
    let _alone = alone();
    compare(SOURCE, EXPANDED);
    let lines = read(here(EXPANDED)).lines().count();
    assert!(
        lines <= LONGEST,
        "the expansion has {lines} lines, and more than {LONGEST} are too many to read at a glance"
    );
}

#[test]
fn the_expansion_of_each_argument_is_what_its_file_says() {
    let _alone = alone();
    compare(ARGUMENTS, ARGUMENTS_EXPANDED);
}

/// Text without the difference that indentation and line breaks make.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_shows_this_handler_and_this_expansion() {
    let _alone = alone();
    let readme = words(&read(workspace().join("README.md")));
    let source = read(here(SOURCE));
    let handler = source.split_once("#[get").expect("the handler").1;
    assert!(readme.contains(&words(handler)), "the README has another handler than {SOURCE}");
    assert!(readme.contains(&words(&read(here(EXPANDED)))), "the README has another expansion than {EXPANDED}");
}
