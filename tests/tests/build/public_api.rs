//! The public interface: which crates show in it, and what its types can do.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::process::Command;

use ratelimit_runtime::{
    CheckError, Error, ForwardingHeader, IetfDraft, KeyPart, ManualClock, OnStoreError, Policy, RateLimitHeaders,
    RateLimitState, RateLimiter, RateLimiterBuilder, RuleState, Subject, TrustedProxies,
};
use serde_json::Value;

use crate::artifacts::workspace;

/// The crates whose types may show: actix-web, what it re-exports (`http` has `HeaderName`), and the standard library.
const ALLOWED: &[&str] = &["actix_web", "actix_http", "actix_service", "http", "alloc", "core", "std"];

/// Rustdoc's description of the runtime. Rustc keeps that for its nightly versions; the variable lets this one crate through.
fn description() -> Value {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["rustdoc", "--package", "ratelimit-runtime", "--all-features", "--lib", "--locked", "--quiet", "--"]);
    cargo.args(["-Z", "unstable-options", "--output-format", "json"]);
    cargo.current_dir(workspace()).env("RUSTC_BOOTSTRAP", "ratelimit_runtime");
    assert!(cargo.status().expect("cargo runs").success(), "rustdoc cannot describe the runtime");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let file = std::fs::File::open(target.join("doc/ratelimit_runtime.json")).expect("the description");
    serde_json::from_reader(std::io::BufReader::new(file)).expect("JSON")
}

/// The numbers of all types and traits that are named in a part of the description.
fn named(part: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            for (name, value) in fields {
                if matches!(name.as_str(), "resolved_path" | "trait")
                    && let Some(id) = value.get("id")
                {
                    found.insert(id.to_string());
                }
                named(value, found);
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| named(part, found)),
        _ => {}
    }
}

#[test]
fn no_crate_but_actix_web_shows_in_a_public_signature() {
    let description = description();
    let items = description["index"].as_object().expect("the items");
    let mut seen = BTreeSet::new();
    for item in items.values().filter(|item| matches!(item["visibility"].as_str(), Some("public" | "default"))) {
        let inner = &item["inner"]["impl"];
        if inner["is_synthetic"] == true || inner["blanket_impl"].is_object() {
            continue;
        }
        let mut ids = BTreeSet::new();
        named(&item["inner"], &mut ids);
        for path in ids.iter().map(|id| &description["paths"][id]).filter(|path| path["crate_id"] != 0) {
            let Some(number) = path["crate_id"].as_u64() else { continue };
            let name = description["external_crates"][number.to_string()]["name"].as_str().unwrap_or_default();
            assert!(ALLOWED.contains(&name), "`{}` has `{}` of {name} in its signature", item["name"], path["path"]);
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.contains("actix_web"), "{seen:?}");
}

const fn shared<T: Send + Sync + Clone + Debug>() {}

/// What users rely on: a limiter is cloned into every worker, and an error is sent on.
const _: () = {
    shared::<RateLimiter>();
    shared::<RateLimitHeaders>();
    shared::<IetfDraft>();
    shared::<RateLimitState>();
    shared::<RuleState>();
    shared::<Subject>();
    shared::<Error>();
    shared::<CheckError>();
    shared::<KeyPart>();
    shared::<ManualClock>();
    shared::<OnStoreError>();
    shared::<TrustedProxies>();
    shared::<ForwardingHeader>();
};

#[cfg(feature = "redis")]
const _: () = shared::<ratelimit_runtime::Credentials>();

const fn sent<T: Send + Debug>() {}

const fn in_a_static<T: Sync + Debug>() {}

const _: () = in_a_static::<Policy>();

const _: () = sent::<RateLimiterBuilder>();
