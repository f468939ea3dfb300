//! Figures: what one round of a workload measured, and the rounds taken together.
//!
//! Knows medians and spreads. Knows no workload and no goal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The measurements of one round: the name of each measure, with its unit, and the value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round(BTreeMap<String, f64>);

impl Round {
    pub(crate) fn new() -> Self {
        Round::default()
    }

    /// Adds a measure. A value that could not be measured (a division by zero) is left out.
    pub(crate) fn with(mut self, measure: impl Into<String>, value: f64) -> Self {
        if value.is_finite() {
            self.0.insert(measure.into(), value);
        }
        self
    }

    pub(crate) fn and(mut self, other: Round) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Removes a measure that means nothing for this workload.
    pub(crate) fn without(mut self, measure: &str) -> Self {
        self.0.remove(measure);
        self
    }

    pub(crate) fn get(&self, measure: &str) -> Option<f64> {
        self.0.get(measure).copied()
    }
}

/// All rounds of one measure.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rounds(pub(crate) Vec<f64>);

impl Rounds {
    pub(crate) fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match (sorted.get(middle), sorted.len() % 2) {
            (Some(upper), 0) => sorted.get(middle - 1).map(|lower| (lower + upper) / 2.0),
            (middle, _) => middle.copied(),
        }
    }

    /// Returns the lowest and the highest.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let sorted = self.sorted();
        Some((*sorted.first()?, *sorted.last()?))
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Every measure of every workload, round by round. This is what the JSON file holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The settings of the server and the machine, as they report them.
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) workloads: BTreeMap<String, BTreeMap<String, Rounds>>,
}

impl Figures {
    pub(crate) fn add(&mut self, workload: &str, round: &Round) {
        let measures = self.workloads.entry(workload.to_owned()).or_default();
        for (measure, value) in &round.0 {
            measures.entry(measure.clone()).or_default().0.push(*value);
        }
    }

    pub(crate) fn rounds(&self, workload: &str, measure: &str) -> Option<&Rounds> {
        self.workloads.get(workload)?.get(measure)
    }

    pub(crate) fn median(&self, workload: &str, measure: &str) -> Option<f64> {
        self.rounds(workload, measure)?.median()
    }
}

/// Returns the value below which a share of the values falls; NaN for no values. Sorts them.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (share * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_in_any_order() {
        assert_eq!(Rounds(vec![3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Rounds(vec![4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(Rounds(vec![]).median(), None);
        assert_eq!(Rounds(vec![3.0, 1.0, 2.0]).spread(), Some((1.0, 3.0)));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 50.0);
        assert_eq!(percentile(&mut values, 0.99), 99.0);
        assert!(percentile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn what_could_not_be_measured_is_left_out() {
        let mut figures = Figures::default();
        figures.add("chain", &Round::new().with("steps/s", f64::NAN).with("hops", 1.0));
        assert_eq!(figures.median("chain", "steps/s"), None);
        assert_eq!(figures.median("chain", "hops"), Some(1.0));
    }
}
