//! The measurement as Markdown.

use std::fmt::Write;

use ratelimit_benches::{
    statistics::Spread,
    subject::{SUBJECTS, Store, Subject},
};

use crate::{
    machine::Machine,
    measurement::Measurement,
    options::Options,
    scenario::Scenario,
    summary::{self, Row},
};

pub(crate) fn document(machine: &Machine, options: &Options, measurements: &[Measurement]) -> String {
    let mut text = format!(
        "Measured on {} ({} cores), Linux {}, {}, {}, {}: {} alternations, {} s a run.\n",
        machine.processor,
        machine.cores,
        machine.linux,
        machine.redis,
        machine.wrk,
        machine.rust,
        options.alternations,
        options.seconds,
    );
    for (scenario, measurement) in options.scenarios.iter().zip(measurements) {
        // Writing into a String does not fail.
        let _ = write!(text, "\n### {}\n\n{}", scenario.title, table(scenario, measurement));
    }
    text
}

/// Parts of labels whose rows are left out of the summary.
const LEFT_TO_THE_TABLES: &[&str] = &["two rules", "sliding", "GCRA", "1,000", "TCP", "waits", "cached"];

/// The summary for the project's README.
pub(crate) fn summary(measurements: &[Measurement]) -> String {
    let columns = ["admitted", "refused"].map(|scenario| {
        let measured = measurements.iter().filter(|measurement| measurement.scenario == scenario);
        measured.flat_map(summary::rows).collect::<Vec<Row>>()
    });
    let mut text = line(&["one key, 64 connections", "admitted", "refused"].map(str::to_owned));
    text += &line(&["---", "---", "---"].map(str::to_owned));
    for subject in SUBJECTS.iter().filter(|subject| !LEFT_TO_THE_TABLES.iter().any(|part| subject.label.contains(part)))
    {
        let shares = columns
            .each_ref()
            .map(|rows| rows.iter().find(|row| row.subject.name == subject.name).and_then(|row| row.share_of_bare));
        if shares.iter().any(Option::is_some) {
            let shares = shares.map(|share| share.map_or_else(|| "–".to_owned(), with_spread));
            let label = if subject.is_ours() { format!("**{}**", subject.label) } else { subject.label.to_owned() };
            text += &line(&[vec![label], shares.into()].concat());
        }
    }
    text
}

fn table(scenario: &Scenario, measurement: &Measurement) -> String {
    let columns = ["", "requests/s", "share of bare", "server CPU, µs", "Redis CPU, µs", "wrk CPU, µs"];
    let mut columns: Vec<String> = columns.map(str::to_owned).into();
    if scenario.is_lone() {
        columns.push("p50, µs".to_owned());
    }
    let mut text = line(&columns) + &line(&vec!["---".to_owned(); columns.len()]);
    for row in summary::rows(measurement) {
        text.push_str(&line(&cells(scenario, &row)));
    }
    for over in ["Unix socket", "TCP"] {
        let times = measurement.round_trips.iter().filter(|round_trip| round_trip.over == over);
        if let Some(time) = Spread::of(times.map(|round_trip| round_trip.p50_us)) {
            let mut cells = vec![String::new(); columns.len()];
            cells[0] = format!("one INCR round trip without HTTP, {over}");
            cells[columns.len() - 1] = format!("{:.0} ({:.0}–{:.0})", time.median, time.min, time.max);
            text.push_str(&line(&cells));
        }
    }
    for left_out in &measurement.left_out {
        let reason = left_out.reason.lines().next().unwrap_or_default();
        let _ = writeln!(text, "\nLeft out: {}, {reason}.", left_out.subject);
    }
    text
}

fn cells(scenario: &Scenario, row: &Row) -> Vec<String> {
    let rate = row.requests_per_second;
    let mut cells = vec![
        label(row),
        format!("{:.0} ({:.0}–{:.0})", rate.median, rate.min, rate.max),
        row.share_of_bare.map_or_else(|| "1".to_owned(), with_spread),
        format!("{:.1}", row.server_cpu_us),
        if row.subject.store == Store::Memory { "–".to_owned() } else { format!("{:.2}", row.redis_cpu_us) },
        format!("{:.1}", row.wrk_cpu_us),
    ];
    if scenario.is_lone() {
        cells.push(format!("{:.0}", row.p50_us));
    }
    cells
}

fn with_spread(share: Spread) -> String {
    format!("{:.2} ({:.2}–{:.2})", share.median, share.min, share.max)
}

fn label(row: &Row) -> String {
    let Subject { label, .. } = row.subject;
    let label = if row.subject.is_ours() { format!("**{label}**") } else { (*label).to_owned() };
    match row.wrong_answers {
        0 => label,
        wrong => format!("{label} ({wrong} wrong answers)"),
    }
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
