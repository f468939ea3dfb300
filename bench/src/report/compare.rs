//! A comparison with an earlier run, by ratios: the machine may have been another, or in another state.

use super::goals::limit_1;
use super::shown;
use crate::figure::Figures;

/// Prints each ratio then and now, and each workload's speed in units of its own run's `limit₁`.
pub(crate) fn compare(earlier: &Figures, now: &Figures) {
    println!("\nCompared with the earlier run (then → now)");
    for goal in super::goals() {
        if let (Some(then), Some(value)) = (goal.value(earlier), goal.value(now)) {
            line(goal.name, then, value);
        }
    }
    let (Some(then_limit), Some(now_limit)) = (limit_1(earlier), limit_1(now)) else { return };
    for workload in now.workloads.keys() {
        for measure in ["steps/s", "starts/s"] {
            if let (Some(then), Some(value)) = (earlier.median(workload, measure), now.median(workload, measure)) {
                line(&format!("{workload}: {measure} / limit₁"), then / then_limit, value / now_limit);
            }
        }
    }
}

fn line(name: &str, then: f64, now: f64) {
    println!("  {name:<52} {:>10} → {:>10}   × {}", shown(then), shown(now), shown(now / then));
}
