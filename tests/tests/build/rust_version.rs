//! The `rust-version` is what the dependencies ask for: a lower one would be a lie, a higher one would shut people out.

use std::{collections::HashMap, process::Command};

use serde_json::Value;

#[test]
fn the_rust_version_is_the_highest_among_the_dependencies() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let packages: HashMap<&str, &Value> =
        list(&metadata["packages"]).map(|package| (text(&package["id"]), package)).collect();
    let dependencies: HashMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), &node["deps"])).collect();
    let runtime = packages.values().find(|package| package["name"] == "ratelimit-runtime").expect("the runtime");

    let mut seen = vec![text(&runtime["id"])];
    let mut next = 0;
    while let Some(&id) = seen.get(next) {
        for dependency in list(dependencies[id]) {
            let in_use = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null() || kind["kind"] == "build");
            let id = text(&dependency["pkg"]);
            if in_use && !seen.contains(&id) {
                seen.push(id);
            }
        }
        next += 1;
    }
    let ours = version(runtime).expect("a rust-version");
    let others = seen.iter().filter(|id| !text(&packages[*id]["name"]).starts_with("ratelimit-"));
    let highest = others.filter_map(|id| version(packages[id])).max().expect("dependencies");
    assert_eq!(ours, highest);
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `1.89` and `1.89.0` alike as (1, 89).
fn version(package: &Value) -> Option<(u32, u32)> {
    let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}
