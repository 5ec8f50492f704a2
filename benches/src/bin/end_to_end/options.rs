//! The options of the command.

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::{Long, Short, ValueExt};
use ratelimit_benches::subject::{self, SUBJECTS, Subject};

use crate::scenario::{SCENARIOS, Scenario};

pub(crate) const HELP: &str = "\
usage: cargo run --release -p ratelimit-benches --bin end_to_end -- [OPTION]...

  --only NAME,...       these subjects only (the bare handler runs in any case)
  --scenario NAME,...   these scenarios only
  --alternations N      how often each subject runs in each scenario; 5 unless set
  --seconds N           how long each run takes; 2 unless set
  --quick               one alternation of one second: to see that everything runs, not to measure
  --write               put the table into benches/README.md, its medians into the project's README.md, and the plot into
                        benches/
  --list                the names of subjects and scenarios";

pub(crate) struct Options {
    pub(crate) subjects: Vec<&'static Subject>,
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) alternations: usize,
    pub(crate) seconds: u32,
    pub(crate) write: bool,
}

/// The task of a run: to measure, or to print a text.
pub(crate) enum Command {
    Measure(Options),
    Print(String),
}

impl Command {
    pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options = Options {
            subjects: SUBJECTS.iter().collect(),
            scenarios: SCENARIOS.iter().collect(),
            alternations: 5,
            seconds: 2,
            write: false,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("only") => options.subjects = names(&arguments.value()?.string()?, "subject", subject::find)?,
                Long("scenario") => {
                    options.scenarios = names(&arguments.value()?.string()?, "scenario", Scenario::find)?;
                }
                Long("alternations") => options.alternations = arguments.value()?.parse()?,
                Long("seconds") => options.seconds = arguments.value()?.parse()?,
                Long("quick") => (options.alternations, options.seconds) = (1, 1),
                Long("write") => options.write = true,
                Long("list") => return Ok(Self::Print(list())),
                Long("help") | Short('h') => return Ok(Self::Print(HELP.to_owned())),
                other => bail!("{}\n\n{HELP}", other.unexpected()),
            }
        }
        ensure!(options.alternations > 0 && options.seconds > 0, "--alternations and --seconds are at least 1");
        // The bare handler always runs.
        options.subjects.retain(|subject| subject.name != subject::BARE.name);
        Ok(Self::Measure(options))
    }
}

fn names<T>(text: &str, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let find = |name: &str| find(name).with_context(|| format!("there is no {what} `{name}`: see --list"));
    text.split(',').map(find).collect()
}

fn list() -> String {
    let subjects = SUBJECTS.iter().map(|subject| format!("  {:22}{}\n", subject.name, subject.label));
    let scenarios = SCENARIOS.iter().map(|scenario| format!("  {:30}{}\n", scenario.name, scenario.title));
    format!("subjects:\n{}scenarios:\n{}", subjects.collect::<String>(), scenarios.collect::<String>())
}
