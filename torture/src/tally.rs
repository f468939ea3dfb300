//! Counts of disturbances and of their results, over all episodes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts of the disturbances of processes and servers, and of the work completed meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<&'static str, u64>,
    longest: BTreeMap<&'static str, Duration>,
}

pub(crate) const KILLS: &str = "workers killed with SIGKILL";
pub(crate) const PAUSES: &str = "workers stopped past their lease, and continued";
pub(crate) const POSTGRES: &str = "Postgres killed and restarted";
pub(crate) const REDIS: &str = "Redis killed and restarted with nothing in it";
pub(crate) const CUT_WAVES: &str = "answers cut: commits of runs";
pub(crate) const CUT_COMMITS: &str = "answers cut: COMMITs of transactions";
pub(crate) const CUT_OTHERS: &str = "answers cut: claims and leases";
pub(crate) const RUNS: &str = "runs";
pub(crate) const STEPS: &str = "steps completed";

/// The minimum counts for an hour; kinds listed together are added up.
const HOURLY: &[(&[&str], u64)] = &[
    (&[KILLS], 1_000),
    (&[PAUSES], 500),
    (&[POSTGRES], 100),
    (&[REDIS], 100),
    (&[CUT_WAVES, CUT_COMMITS, CUT_OTHERS], 1_000),
];

impl Tally {
    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    /// Keeps the maximum of the times that something took.
    pub(crate) fn took(&mut self, what: &'static str, time: Duration) {
        let longest = self.longest.entry(what).or_default();
        *longest = time.max(*longest);
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    pub(crate) fn merge(&mut self, other: Tally) {
        for (what, count) in other.counts {
            self.add(what, count);
        }
        for (what, time) in other.longest {
            self.took(what, time);
        }
    }

    /// Returns the disturbances that occurred less often in the given minutes than a meaningful result requires.
    pub(crate) fn short_of(&self, minutes: f64) -> Vec<String> {
        let short = HOURLY.iter().filter_map(|(whats, hourly)| {
            let wanted = (*hourly as f64 * minutes / 60.0).floor();
            let done = whats.iter().map(|what| self.of(what)).sum::<u64>();
            ((done as f64) < wanted).then(|| format!("{}: {done}, and {wanted} are wanted", whats.join(" + ")))
        });
        short.collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>9}  {what}")?;
        }
        for (what, time) in &self.longest {
            writeln!(f, "{:>7.2} s  {what}, at most", time.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_in_which_too_little_was_tried_is_reported() {
        let mut tally = Tally::default();
        for (whats, hourly) in HOURLY {
            tally.add(whats[0], hourly / 20);
        }
        assert_eq!(tally.short_of(3.0), Vec::<String>::new());
        assert_eq!(tally.short_of(6.0).len(), HOURLY.len());
    }
}
