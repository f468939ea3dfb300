//! The table: every workload with its measures, medians and spreads.

use super::goals::{limit_1, limit_100};
use super::shown;
use crate::figure::{Figures, Round};

/// Prints one line about a round that has just ended.
pub(crate) fn round(workload: &str, number: usize, round: &Round, seconds: f64) {
    let shown_first = ["steps/s", "starts/s", "hop p50 ms", "hop p99 ms", "queries/s"];
    let measured: Vec<String> = shown_first
        .iter()
        .filter_map(|measure| round.get(measure).map(|value| format!("{measure} {}", shown(value))))
        .collect();
    println!("  {workload} round {number}: {} ({seconds:.1} s)", measured.join(", "));
}

/// Prints the whole table.
pub(crate) fn figures(of: &Figures) {
    println!("\nSettings");
    for (name, value) in &of.settings {
        println!("  {name:<42} {value}");
    }
    for (workload, measures) in &of.workloads {
        let rounds = measures.values().map(|rounds| rounds.0.len()).max().unwrap_or(0);
        println!("\n{workload} (median of {rounds}; lowest – highest)");
        for (measure, rounds) in measures {
            if let (Some(median), Some((lowest, highest))) = (rounds.median(), rounds.spread()) {
                println!("  {measure:<46} {:>12}   {} – {}", shown(median), shown(lowest), shown(highest));
            }
        }
    }
    if let (Some(one), Some(hundred)) = (limit_1(of), limit_100(of)) {
        println!("\nlimit₁ = {} hops/s, limit₁₀₀ = {} hops/s", shown(one), shown(hundred));
    }
    println!("\nRatios");
    for line in super::goals().iter().filter_map(|goal| goal.line(of)) {
        println!("  {line}");
    }
}
