//! Regressions: the ratios that are worse than the recorded ones, in every run of several.
//!
//! One run on a noisy machine proves nothing, so a ratio counts only if each run has it more than a tenth worse.

use std::collections::BTreeMap;

use super::goals::{Worse, goals};
use super::shown;
use crate::figure::Figures;

/// How much worse a ratio may be.
const TOLERANCE: f64 = 1.1;

/// Ratios by name.
pub(crate) type Ratios = BTreeMap<String, f64>;

/// Returns the ratios of a run that have a goal, and that the run measured.
pub(crate) fn ratios(figures: &Figures) -> Ratios {
    let judged = goals().iter().filter(|goal| goal.worse().is_some());
    judged.filter_map(|goal| Some((goal.name.to_owned(), goal.value(figures)?))).collect()
}

/// Returns the median of each ratio over several runs.
pub(crate) fn medians(runs: &[Ratios]) -> Ratios {
    let mut values: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (name, value) in runs.iter().flatten() {
        values.entry(name).or_default().push(*value);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    values.into_iter().filter_map(|(name, values)| Some((name.clone(), median(values)?))).collect()
}

/// Returns a line for each ratio that is worse than recorded in every run.
pub(crate) fn regressions(recorded: &Ratios, runs: &[Ratios]) -> Vec<String> {
    let regressed = goals().iter().filter_map(|goal| {
        let (then, worse) = (*recorded.get(goal.name)?, goal.worse()?);
        let now: Vec<f64> = runs.iter().map(|run| run.get(goal.name).copied()).collect::<Option<_>>()?;
        let is_worse = |now: &f64| match worse {
            Worse::Lower => now * TOLERANCE < then,
            Worse::Higher => *now > then * TOLERANCE,
        };
        let shown_now: Vec<String> = now.iter().map(|value| shown(*value)).collect();
        now.iter().all(is_worse).then(|| format!("{}: {} → {}", goal.name, shown(then), shown_now.join(", ")))
    });
    regressed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: &str = "Postgres: durable steps / limit₁";
    const COMMITS: &str = "commits a step";

    fn run(speed: f64, commits: f64) -> Ratios {
        Ratios::from([(SPEED.to_owned(), speed), (COMMITS.to_owned(), commits)])
    }

    #[test]
    fn a_ratio_has_regressed_if_every_run_has_it_worse() {
        let recorded = run(5.0, 0.02);
        assert!(regressions(&recorded, &[run(4.0, 0.02), run(4.6, 0.02), run(4.0, 0.03)]).is_empty());
        let slower = regressions(&recorded, &[run(4.0, 0.02), run(4.5, 0.02), run(4.4, 0.01)]);
        assert_eq!(slower, ["Postgres: durable steps / limit₁: 5.00 → 4.00, 4.50, 4.40"]);
        let more = regressions(&recorded, &[run(6.0, 0.03), run(5.0, 0.03), run(7.0, 0.023)]);
        assert_eq!(more, ["commits a step: 0.0200 → 0.0300, 0.0300, 0.0230"]);
    }

    #[test]
    fn a_ratio_that_a_run_did_not_measure_is_not_judged() {
        let partial = Ratios::from([(COMMITS.to_owned(), 0.02)]);
        assert!(regressions(&run(5.0, 0.02), &[run(1.0, 0.02), partial]).is_empty());
    }

    #[test]
    fn the_median_run_is_recorded() {
        assert_eq!(medians(&[run(5.0, 0.03), run(4.0, 0.01), run(6.0, 0.02)]), run(5.0, 0.02));
    }
}
