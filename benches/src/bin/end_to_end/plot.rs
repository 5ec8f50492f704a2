//! The measurement as a picture: the share of the bare handler's throughput, a panel for each scenario.

use std::fmt::Write;

use ratelimit_benches::statistics::Spread;

use crate::{
    measurement::Measurement,
    options::Options,
    summary::{self, Row},
};

const WIDTH: u32 = 960;
const LABELS: u32 = 400;
const BARS: f64 = 480.0;
const ROW: u32 = 20;
const TITLE: u32 = 44;

/// The right end of the axis: a little more than the bare handler itself, which noise can make a subject reach.
const FULL: f64 = 1.1;

pub(crate) fn svg(options: &Options, measurements: &[Measurement]) -> String {
    let mut panels = String::new();
    let mut top = 20;
    for (scenario, measurement) in options.scenarios.iter().zip(measurements) {
        let rows = summary::rows(measurement);
        let bars: Vec<(&Row, Spread)> = rows.iter().filter_map(|row| Some((row, row.share_of_bare?))).collect();
        panel(&mut panels, top, scenario.title, &bars);
        top += TITLE + ROW * u32::try_from(bars.len()).unwrap_or(0) + 24;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n\
         <title>Requests per second as a share of the bare handler: medians, and lines from the lowest to the highest</title>\n\
         <rect width=\"{WIDTH}\" height=\"{top}\" fill=\"#ffffff\"/>\n{panels}</svg>\n"
    )
}

// Writing into a String does not fail.
fn panel(svg: &mut String, top: u32, title: &str, bars: &[(&Row, Spread)]) {
    let _ = writeln!(svg, "<text x=\"16\" y=\"{}\" font-size=\"14\" font-weight=\"bold\">{title}</text>", top + 14);
    let first = top + TITLE;
    let last = first + ROW * u32::try_from(bars.len()).unwrap_or(0);
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let (x, above) = (x(share), first - 6);
        let _ = writeln!(svg, "<line x1=\"{x}\" y1=\"{first}\" x2=\"{x}\" y2=\"{last}\" stroke=\"#d4d4d8\"/>");
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{above}\" text-anchor=\"middle\" fill=\"#52525b\">{share}</text>");
    }
    for (index, (row, share)) in bars.iter().enumerate() {
        bar(svg, first + ROW * u32::try_from(index).unwrap_or(0), row, *share);
    }
}

fn bar(svg: &mut String, top: u32, row: &Row, share: Spread) {
    let (text, middle) = (top + 14, top + ROW / 2);
    let (fill, weight) = if row.subject.is_ours() { ("#2563eb", "bold") } else { ("#a1a1aa", "normal") };
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\" font-weight=\"{weight}\">{}</text>",
        LABELS - 8,
        row.subject.label,
    );
    let (start, end) = (x(0.0), x(share.median));
    let _ = writeln!(
        svg,
        "<rect x=\"{start}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{fill}\"/>",
        top + 3,
        end - start,
        ROW - 6,
    );
    let (low, high) = (x(share.min), x(share.max));
    let _ = writeln!(svg, "<line x1=\"{low}\" y1=\"{middle}\" x2=\"{high}\" y2=\"{middle}\" stroke=\"#18181b\"/>");
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{text}\">{:.2}</text>", x(FULL) + 8.0, share.median);
}

/// Where a share stands on the axis; what is off it, at its end.
fn x(share: f64) -> f64 {
    let x = f64::from(LABELS) + BARS * share.clamp(0.0, FULL) / FULL;
    (x * 10.0).round() / 10.0
}
