//! What cargo has built in this workspace, and where it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Something that cargo has built.
pub(crate) struct Artifact {
    name: String,
    kind: String,
    file: PathBuf,
}

/// The top of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of a workspace")
}

/// Everything that `cargo test --workspace` has built already, examples included: this only asks where it is.
pub(crate) fn artifacts() -> &'static [Artifact] {
    static ARTIFACTS: OnceLock<Vec<Artifact>> = OnceLock::new();
    ARTIFACTS.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args([
                "test",
                "--workspace",
                "--exclude",
                "ratelimit-benches",
                "--no-run",
                "--locked",
                "--message-format=json",
            ])
            .current_dir(workspace())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo cannot build the workspace");
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| artifact(&serde_json::from_slice(line).expect("a message of cargo's"))).collect()
    })
}

fn artifact(message: &Value) -> Option<Artifact> {
    let target = &message["target"];
    let files = message["filenames"].as_array()?;
    let library = || files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".rlib"));
    let file = message["executable"].as_str().or_else(library)?;
    Some(Artifact {
        name: target["name"].as_str()?.replace('-', "_"),
        kind: target["kind"][0].as_str()?.to_owned(),
        file: file.into(),
    })
}

/// The program of an example.
pub(crate) fn example(name: &str) -> &'static Path {
    find(name, "example").next().unwrap_or_else(|| panic!("this workspace has no example {name}"))
}

/// The libraries of a crate, for rustc.
pub(crate) fn libraries(name: &str) -> impl Iterator<Item = &'static Path> {
    find(name, "lib")
}

fn find(name: &str, kind: &str) -> impl Iterator<Item = &'static Path> {
    artifacts().iter().filter(move |it| it.name == name && it.kind == kind).map(|it| &*it.file)
}
