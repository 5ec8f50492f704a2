//! The machine of the measurement.

use std::fs;

use anyhow::Result;
use ratelimit_benches::processes::version;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) linux: String,
    pub(crate) redis: String,
    pub(crate) wrk: String,
    pub(crate) rust: String,
}

impl Machine {
    /// Fails if a program is missing that the measurement needs.
    pub(crate) fn describe() -> Result<Self> {
        let redis = version("redis-server", "--version", "redis-server")?;
        let wrk = version("wrk", "--version", "wrk")?;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let linux = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            processor: model.map_or("an unnamed processor", |(_, model)| model).trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            // The release, without the build's name from a distribution or a provider.
            linux: linux.trim().split('-').next().unwrap_or_default().to_owned(),
            redis: words(&redis, " v=").unwrap_or(redis),
            wrk: words(&wrk, " ").unwrap_or(wrk),
            rust: version("rustc", "--version", "rustc").unwrap_or_else(|_| "an unknown rustc".to_owned()),
        })
    }
}

/// The name before `separator` and the word behind it, of a longer text.
fn words(text: &str, separator: &str) -> Option<String> {
    let (name, rest) = text.split_once(separator)?;
    Some(format!("{name} {}", rest.split(' ').next()?))
}
