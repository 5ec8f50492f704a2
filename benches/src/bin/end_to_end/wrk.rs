//! The load: wrk with one thread, which loads a server evenly on few cores.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use ratelimit_benches::load::Verdict;
use tempfile::TempDir;

use crate::scenario::Scenario;

/// wrk, and its script, which defines the requests.
pub(crate) struct Wrk {
    script: PathBuf,
    _folder: TempDir,
}

/// The result of a run of wrk.
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Answers of the other verdict, and requests without an answer.
    pub(crate) wrong: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Wrk {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder for wrk's script")?;
        let script = folder.path().join("load.lua");
        std::fs::write(&script, include_str!("load.lua")).context("cannot write wrk's script")?;
        Ok(Self { script, _folder: folder })
    }

    /// Sends the requests of `scenario` to `port`, beginning with the key number `first`.
    pub(crate) fn run(&self, scenario: &Scenario, port: u16, seconds: u32, first: u64) -> Result<Seen> {
        let keys = scenario.load.keys.count();
        let output = Command::new("wrk")
            .args(["-t1", &format!("-c{}", scenario.connections), &format!("-d{seconds}s"), "-s"])
            .arg(&self.script)
            .args([&format!("http://127.0.0.1:{port}/"), "--", &keys.to_string()])
            .args([scenario.pipelined.to_string(), (first % u64::from(keys)).to_string()])
            .output()
            .context("cannot run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let seen = text.lines().find_map(|line| parse(line, scenario.load.verdict));
        seen.with_context(|| format!("wrk said nothing of use:\n{text}{}", String::from_utf8_lossy(&output.stderr)))
            .and_then(|seen| {
                ensure!(seen.requests > 0, "no request was answered");
                Ok(seen)
            })
    }
}

/// Reads the line that the script prints when the run is done.
fn parse(line: &str, verdict: Verdict) -> Option<Seen> {
    let numbers: Vec<u64> = line.strip_prefix("result ")?.split(' ').filter_map(|number| number.parse().ok()).collect();
    let &[requests, microseconds, refused, unanswered, p50, p99] = numbers.as_slice() else { return None };
    let wrong = match verdict {
        Verdict::Admitted => refused,
        Verdict::Refused => requests - refused,
    };
    Some(Seen {
        requests,
        seconds: microseconds as f64 / 1e6,
        wrong: wrong + unanswered,
        p50_us: p50 as f64,
        p99_us: p99 as f64,
    })
}
