//! The plot of the measurement: the share of the bare handler's throughput, with a panel for each plain scenario.

use std::fmt::Write;

use ratelimit_benches::statistics::Spread;

use crate::{
    measurement::Measurement,
    options::Options,
    summary::{self, Row},
};

const WIDTH: u32 = 960;
const MARGIN: u32 = 24;
const LABELS: u32 = 400;
const BARS: f64 = 470.0;
const ROW: u32 = 22;
const TITLE: u32 = 52;
const LEGEND: u32 = 40;

/// The right end of the axis: a little above the bare handler, because noise can lift a subject there.
const FULL: f64 = 1.1;

/// The style, with dark colours for a dark page.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #27272a }
.page { fill: #ffffff }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #71717a }
.ours { font-weight: 600 }
.grid { stroke: #e4e4e7 }
.bare { stroke: #71717a; stroke-dasharray: 4 3 }
.bar { fill: #b4b4bd }
.bar.ours { fill: #2563eb }
.spread { stroke: #18181b; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e4e4e7 }
.page { fill: #0d1117 }
.quiet { fill: #a1a1aa }
.grid { stroke: #27272f }
.bare { stroke: #a1a1aa }
.bar { fill: #52525b }
.bar.ours { fill: #3b82f6 }
.spread { stroke: #fafafa }
}";

pub(crate) fn svg(options: &Options, measurements: &[Measurement]) -> String {
    let mut panels = String::new();
    let mut top = MARGIN;
    for (scenario, measurement) in options.scenarios.iter().zip(measurements) {
        let rows = summary::rows(measurement);
        let bars: Vec<(&Row, Spread)> = rows.iter().filter_map(|row| Some((row, row.share_of_bare?))).collect();
        if scenario.is_plain() && !bars.is_empty() {
            top += panel(&mut panels, top, scenario.title, &bars);
        }
    }
    let (legend, height) = (top + 12, top + LEGEND);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <title>Requests per second as a share of the bare handler's</title>\n\
         <style>\n{STYLE}\n</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         {panels}<text class=\"quiet\" x=\"{MARGIN}\" y=\"{legend}\">Requests per second as a share of the bare handler's \
         (the dashed line): medians, and lines from the lowest to the highest.</text>\n</svg>\n"
    )
}

/// Draws a panel, and returns its height.
// Writing into a String does not fail.
fn panel(svg: &mut String, top: u32, title: &str, bars: &[(&Row, Spread)]) -> u32 {
    let _ = writeln!(svg, "<text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{title}</text>", top + 14);
    let first = top + TITLE;
    let height = ROW * u32::try_from(bars.len()).unwrap_or(0);
    for quarter in 0..=4 {
        let (x, class) = (x(f64::from(quarter) / 4.0), if quarter == 4 { "bare" } else { "grid" });
        let _ =
            writeln!(svg, "<line class=\"{class}\" x1=\"{x}\" y1=\"{first}\" x2=\"{x}\" y2=\"{}\"/>", first + height);
        let _ = writeln!(
            svg,
            "<text class=\"quiet\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            first - 6,
            f64::from(quarter) / 4.0,
        );
    }
    for (index, (row, share)) in bars.iter().enumerate() {
        bar(svg, first + ROW * u32::try_from(index).unwrap_or(0), row, *share);
    }
    TITLE + height + MARGIN
}

fn bar(svg: &mut String, top: u32, row: &Row, share: Spread) {
    let (text, middle) = (top + 15, top + ROW / 2);
    let ours = if row.subject.is_ours() { "ours" } else { "" };
    let _ = writeln!(
        svg,
        "<text class=\"{ours}\" x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
        LABELS - 10,
        row.subject.label,
    );
    let (start, end) = (x(0.0), x(share.median));
    let _ = writeln!(
        svg,
        "<rect class=\"bar {ours}\" x=\"{start}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>",
        top + 3,
        end - start,
        ROW - 6,
    );
    let (low, high) = (x(share.min), x(share.max));
    let _ = writeln!(svg, "<line class=\"spread\" x1=\"{low}\" y1=\"{middle}\" x2=\"{high}\" y2=\"{middle}\"/>");
    let _ = writeln!(svg, "<text class=\"{ours}\" x=\"{}\" y=\"{text}\">{:.2}</text>", x(FULL) + 12.0, share.median);
}

/// The position of a share on the axis, at most its end.
fn x(share: f64) -> f64 {
    let x = f64::from(LABELS) + BARS * share.clamp(0.0, FULL) / FULL;
    (x * 10.0).round() / 10.0
}
