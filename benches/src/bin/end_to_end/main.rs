//! This project, its peers and the bare handler, each a real server under wrk, alternating in one run.
//!
//! README.md in this crate's folder explains the measurement.

mod contender;
mod machine;
mod markdown;
mod measurement;
mod options;
mod plot;
mod results;
mod round_trip;
mod scenario;
mod server;
mod summary;
mod wrk;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use ratelimit_benches::{
    redis_server::RedisServer,
    subject::{self, Subject},
};

use crate::{machine::Machine, measurement::Measurement, options::Command, wrk::Wrk};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = lexopt::Parser::from_env();
    let first = std::env::args().nth(1);
    if first.as_deref() == Some(server::SERVE) {
        arguments.next()?;
        return server::serve(arguments);
    }
    let options = match Command::parse(arguments)? {
        Command::Measure(options) => options,
        Command::Print(text) => {
            println!("{text}");
            return Ok(());
        }
    };
    let machine = Machine::describe()?;
    let redis = RedisServer::start()?;
    let wrk = Wrk::new()?;
    let mut measurements = Vec::new();
    for scenario in &options.scenarios {
        eprintln!("{}", scenario.title);
        measurements.push(measurement::measure(scenario, &options, &wrk, &redis).context(scenario.name)?);
    }
    results::publish(&machine, &options, &measurements)?;
    ensure_ours_were_right(&measurements)
}

/// The table reports wrong answers of peers. Wrong answers of this project are a failure.
fn ensure_ours_were_right(measurements: &[Measurement]) -> Result<()> {
    for measurement in measurements {
        let left_out = measurement.left_out.iter().map(|left_out| left_out.subject);
        let wrong = measurement.runs.iter().filter(|turn| turn.run.wrong_answers > 0).map(|turn| turn.subject);
        for name in left_out.chain(wrong) {
            let ours = subject::find(name).is_some_and(Subject::is_ours);
            ensure!(!ours, "{}: {name} did not give the answers that were due", measurement.scenario);
        }
    }
    Ok(())
}
