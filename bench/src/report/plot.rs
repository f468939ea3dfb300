//! The plot: a bar for each workload and each limit, in steps or hops a second, with its spread.

use std::fmt::Write;

use super::goals::{limit_1, limit_100};
use super::shown;
use crate::figure::{Figures, Rounds};
use crate::workload::name;

const LEFT: f64 = 330.0;
const WIDTH: f64 = 620.0;
const ROW: f64 = 24.0;

/// Returns an SVG document.
pub(crate) fn plot(of: &Figures) -> String {
    let limits = [name::LIMITS_POSTGRES, name::LIMITS_SQLITE];
    let mut bars: Vec<(String, &Rounds, &str)> = Vec::new();
    for (workload, measures) in &of.workloads {
        for (measure, rounds) in measures {
            let limit = limits.contains(&workload.as_str());
            match measure.strip_suffix(": hops/s") {
                Some(form) if limit => bars.push((format!("{workload}: {form}"), rounds, "#b8b8b8")),
                _ if measure == "steps/s" => bars.push((workload.clone(), rounds, "#2f6fb0")),
                _ if measure == "starts/s" && workload.starts_with("starts") => {
                    bars.push((format!("{workload} (starts)"), rounds, "#4f9f6f"));
                }
                _ => {}
            }
        }
    }
    let highest = bars.iter().filter_map(|(_, rounds, _)| Some(rounds.spread()?.1)).fold(1.0, f64::max);
    let at = |value: f64| LEFT + WIDTH * value / highest;
    let height = ROW * bars.len() as f64 + 70.0;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1060\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"24\" \
         font-size=\"16\">Durable steps a second, beside the bare SQL of a hop (grey); medians, lines from lowest to highest</text>"
    );
    for (limit, text) in [(limit_1(of), "limit₁"), (limit_100(of), "limit₁₀₀")] {
        if let Some(limit) = limit {
            let x = at(limit);
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"46\" y2=\"{:.0}\" stroke=\"#c04040\" stroke-dasharray=\"4 3\"/>\n\
                 <text x=\"{x:.1}\" y=\"42\" text-anchor=\"middle\" fill=\"#c04040\">{text}</text>",
                height - 14.0
            );
        }
    }
    for (row, (label, rounds, colour)) in bars.iter().enumerate() {
        let (Some(median), Some((low, high))) = (rounds.median(), rounds.spread()) else { continue };
        let (y, middle) = (50.0 + ROW * row as f64, 59.0 + ROW * row as f64);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 13.0,
            label.replace('&', "&amp;").replace('<', "&lt;"),
            at(median) - LEFT,
            at(low),
            at(high),
            at(high) + 6.0,
            y + 13.0,
            shown(median)
        );
    }
    svg.push_str("</svg>\n");
    svg
}
