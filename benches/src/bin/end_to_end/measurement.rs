//! One scenario: its subjects in turn, each run between two of the bare handler.

use anyhow::{Context, Result};
use ratelimit_benches::{
    redis_server::RedisServer,
    subject::{BARE, Store, Subject},
};
use serde::Serialize;

use crate::{
    contender::{Contender, Run},
    options::Options,
    round_trip,
    scenario::Scenario,
    wrk::Wrk,
};

/// All runs of one scenario.
#[derive(Serialize)]
pub(crate) struct Measurement {
    pub(crate) scenario: &'static str,
    /// In the order of time.
    pub(crate) runs: Vec<Turn>,
    /// Medians of plain round trips to Redis, one for each alternation, in scenarios that measure latency.
    pub(crate) round_trips: Vec<RoundTrip>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// A subject's run.
#[derive(Serialize)]
pub(crate) struct Turn {
    pub(crate) subject: &'static str,
    pub(crate) alternation: usize,
    /// Requests per second, divided by the mean of the two bare runs around it. `None` for a bare run.
    pub(crate) share_of_bare: Option<f64>,
    #[serde(flatten)]
    pub(crate) run: Run,
}

#[derive(Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) over: &'static str,
    pub(crate) p50_us: f64,
}

/// A subject without a measurement, and the reason.
#[derive(Serialize)]
pub(crate) struct LeftOut {
    pub(crate) subject: &'static str,
    pub(crate) reason: String,
}

pub(crate) fn measure(
    scenario: &'static Scenario,
    options: &Options,
    wrk: &Wrk,
    redis: &RedisServer,
) -> Result<Measurement> {
    let mut measurement = Measurement { scenario: scenario.name, runs: vec![], round_trips: vec![], left_out: vec![] };
    redis.flush()?;
    let mut bare = Contender::prepare(&BARE, scenario, wrk, redis).context("the bare handler")?;
    let mut contenders = measurement.prepare(scenario, options, wrk, redis);
    for alternation in 0..options.alternations {
        eprintln!("  alternation {} of {}", alternation + 1, options.alternations);
        let mut before = bare.run(wrk, redis, options.seconds)?;
        measurement.add(&BARE, alternation, None, before);
        for contender in &mut contenders {
            let run = contender.run(wrk, redis, options.seconds).context(contender.subject.name)?;
            let after = bare.run(wrk, redis, options.seconds)?;
            let around = (before.requests_per_second + after.requests_per_second) / 2.0;
            measurement.add(contender.subject, alternation, Some(run.requests_per_second / around), run);
            measurement.add(&BARE, alternation, None, after);
            before = after;
        }
        // The first and the last subject change with each alternation.
        if !contenders.is_empty() {
            contenders.rotate_left(1);
        }
        if scenario.is_lone() {
            measurement.round_trips(redis, options.seconds)?;
        }
    }
    Ok(measurement)
}

impl Measurement {
    /// Starts the servers of all subjects. They run until the end, because a waiting server takes no processor time.
    fn prepare(
        &mut self,
        scenario: &'static Scenario,
        options: &Options,
        wrk: &Wrk,
        redis: &RedisServer,
    ) -> Vec<Contender> {
        let mut contenders = Vec::new();
        for subject in options.subjects.iter().filter(|subject| scenario.is_for(subject)) {
            match Contender::prepare(subject, scenario, wrk, redis) {
                Ok(contender) => contenders.push(contender),
                Err(error) => {
                    eprintln!("  {} is left out: {error:#}", subject.name);
                    self.left_out.push(LeftOut { subject: subject.name, reason: format!("{error:#}") });
                }
            }
        }
        contenders
    }

    fn add(&mut self, subject: &Subject, alternation: usize, share_of_bare: Option<f64>, run: Run) {
        self.runs.push(Turn { subject: subject.name, alternation, share_of_bare, run });
    }

    fn round_trips(&mut self, redis: &RedisServer, seconds: u32) -> Result<()> {
        for (store, over) in [(Store::Unix, "Unix socket"), (Store::Tcp, "TCP")] {
            let url = redis.url(store).context("Redis has a URL for each way to it")?;
            self.round_trips.push(RoundTrip { over, p50_us: round_trip::measure(&url, seconds)? });
        }
        Ok(())
    }
}
