//! The published results: the numbers of each run in cargo's target folder, and on request the tables and the plot in the project.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{machine::Machine, markdown, measurement::Measurement, options::Options, plot};

const BEGIN: &str = "<!-- end_to_end: begin -->";
const END: &str = "<!-- end_to_end: end -->";

#[derive(Serialize)]
struct Numbers<'a> {
    machine: &'a Machine,
    seconds_a_run: u32,
    measurements: &'a [Measurement],
}

/// Prints the table, and writes the files.
pub(crate) fn publish(machine: &Machine, options: &Options, measurements: &[Measurement]) -> Result<()> {
    let table = markdown::document(machine, options, measurements);
    println!("{table}");
    let numbers = Numbers { machine, seconds_a_run: options.seconds, measurements };
    let scratch = scratch_folder()?;
    write(&scratch.join("end_to_end.json"), &(serde_json::to_string_pretty(&numbers)? + "\n"))?;
    let folder = if options.write { crate_folder() } else { scratch };
    write(&folder.join("end_to_end.svg"), &plot::svg(options, measurements))?;
    if options.write {
        fill(&folder.join("README.md"), &format!("{table}\n![The shares as a plot](end_to_end.svg)\n"))?;
        let summary = markdown::summary(measurements);
        let plot = "![The shares as a plot](benches/end_to_end.svg)";
        fill(&folder.join("../README.md"), &format!("{summary}\n{plot}\n"))?;
    }
    Ok(())
}

fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Beside this program, in cargo's target folder.
fn scratch_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this program has no path")?;
    Ok(program.parent().context("this program is in no folder")?.to_owned())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Puts `new` between the two marks of a file.
fn fill(path: &Path, new: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let marked = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marked.with_context(|| format!("{} has no place for it: {BEGIN} … {END}", path.display()))?;
    write(path, &format!("{before}{BEGIN}\n{new}{END}{after}"))
}
