//! The runs of a scenario, subject by subject.

use ratelimit_benches::{
    statistics::Spread,
    subject::{BARE, SUBJECTS, Subject},
};

use crate::{contender::Run, measurement::Measurement};

/// All runs of one subject in one scenario.
pub(crate) struct Row {
    pub(crate) subject: &'static Subject,
    pub(crate) requests_per_second: Spread,
    /// `None` for the bare handler.
    pub(crate) share_of_bare: Option<Spread>,
    pub(crate) server_cpu_us: f64,
    pub(crate) redis_cpu_us: f64,
    pub(crate) wrk_cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) wrong_answers: u64,
}

/// The bare handler first, then the subjects in the order of their table.
pub(crate) fn rows(measurement: &Measurement) -> Vec<Row> {
    [&BARE].into_iter().chain(SUBJECTS).filter_map(|subject| row(measurement, subject)).collect()
}

fn row(measurement: &Measurement, subject: &'static Subject) -> Option<Row> {
    let turns = || measurement.runs.iter().filter(|turn| turn.subject == subject.name);
    let median =
        |number: fn(&Run) -> f64| Spread::of(turns().map(|turn| number(&turn.run))).map(|spread| spread.median);
    Some(Row {
        subject,
        requests_per_second: Spread::of(turns().map(|turn| turn.run.requests_per_second))?,
        share_of_bare: Spread::of(turns().filter_map(|turn| turn.share_of_bare)),
        server_cpu_us: median(|run| run.server_cpu_us)?,
        redis_cpu_us: median(|run| run.redis_cpu_us)?,
        wrk_cpu_us: median(|run| run.wrk_cpu_us)?,
        p50_us: median(|run| run.p50_us)?,
        wrong_answers: turns().map(|turn| turn.run.wrong_answers).sum(),
    })
}
