//! The goals, as ratios of figures measured in one run on one machine, and how each is formed.

use std::fmt::Write;

use super::shown;
use crate::figure::Figures;
use crate::workload::name;

/// A goal for a ratio, or for a single figure.
pub(crate) struct Goal {
    pub(crate) name: &'static str,
    bound: Bound,
    /// How the value is formed, for the reader.
    formed: &'static str,
    value: fn(&Figures) -> Option<f64>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// No goal: the value helps to judge the others.
    Orientation,
}

/// The direction in which a ratio becomes worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worse {
    Lower,
    Higher,
}

use Bound::{AtLeast, AtMost, Orientation};

/// Returns all goals.
pub(crate) fn goals() -> &'static [Goal] {
    GOALS
}

const GOALS: &[Goal] = &[
    Goal {
        name: "Postgres: durable steps / limit₁",
        bound: AtLeast(7.0),
        formed: "steps/s of chain-10k-postgres ÷ limit₁: hops/s of the bare SQL, one per transaction, 16 clients, the faster form",
        value: |of| Some(of.median(name::CHAIN_10K_POSTGRES, "steps/s")? / limit_1(of)?),
    },
    Goal {
        name: "Postgres: durable steps / limit₁₀₀",
        bound: AtLeast(0.4),
        formed: "the same ÷ limit₁₀₀: hops/s of the bare SQL, 100 per transaction, 2 connections, the faster form",
        value: |of| Some(of.median(name::CHAIN_10K_POSTGRES, "steps/s")? / limit_100(of)?),
    },
    Goal {
        name: "Postgres: durable steps / limit₁₀₀ as five statements",
        bound: Orientation,
        formed: "the same ÷ hops/s of the bare SQL, 100 per transaction as five statements, 2 connections",
        value: |of| {
            let limit = of.median(name::LIMITS_POSTGRES, "batches of 100 by 2, five statements: hops/s")?;
            Some(of.median(name::CHAIN_10K_POSTGRES, "steps/s")? / limit)
        },
    },
    Goal {
        name: "Postgres: processor time of a bare hop / of a step",
        bound: Orientation,
        formed: "CPU µs a hop of limit₁₀₀ ÷ CPU µs a step of chain-10k-postgres, program and server: limit₁₀₀'s share on a busy machine too",
        value: |of| Some(cpu(of, name::LIMITS_POSTGRES)? / cpu(of, name::CHAIN_10K_POSTGRES)?),
    },
    Goal {
        name: "SQLite: durable steps / limit₁",
        bound: AtLeast(6.0),
        formed: "steps/s of chain-10k-sqlite ÷ hops/s of the bare SQL, one per transaction, one writer",
        value: |of| {
            Some(
                of.median(name::CHAIN_10K_SQLITE, "steps/s")?
                    / of.median(name::LIMITS_SQLITE, "one per transaction: hops/s")?,
            )
        },
    },
    Goal {
        name: "SQLite: durable steps / limit₁₀₀",
        bound: AtLeast(0.33),
        formed: "the same ÷ hops/s of the bare SQL in batches of 100",
        value: |of| {
            Some(
                of.median(name::CHAIN_10K_SQLITE, "steps/s")?
                    / of.median(name::LIMITS_SQLITE, "batches of 100: hops/s")?,
            )
        },
    },
    Goal {
        name: "Postgres: starts and work at once / limit₁",
        bound: AtLeast(5.0),
        formed: "steps/s of starts-and-work, from the first start to the last completion, ÷ limit₁",
        value: |of| Some(of.median(name::STARTS_AND_WORK, "steps/s")? / limit_1(of)?),
    },
    Goal {
        name: "Postgres: starts in batches / limit₁",
        bound: AtLeast(5.0),
        formed: "starts/s of starts-batch ÷ limit₁",
        value: |of| Some(of.median(name::STARTS_BATCH, "starts/s")? / limit_1(of)?),
    },
    Goal {
        name: "hop of a run alone / bare hop",
        bound: AtMost(1.5),
        formed: "hop p50 of alone ÷ p50 of the bare hop by one client, five statements in a transaction",
        value: |of| {
            Some(
                of.median(name::ALONE, "hop p50 ms")?
                    / of.median(name::LIMITS_POSTGRES, "1 client, five statements: p50 ms")?,
            )
        },
    },
    Goal {
        name: "hop of a run alone / bare hop as one statement",
        bound: AtMost(1.15),
        formed: "the same ÷ p50 of the bare hop by one client as one statement, which is its own transaction",
        value: |of| Some(of.median(name::ALONE, "hop p50 ms")? / one_statement(of)?),
    },
    Goal {
        name: "start of a run alone until its first handler / bare hop as one statement",
        bound: AtMost(2.5),
        formed: "pickup p50 of alone ÷ the same p50 of the bare hop",
        value: |of| Some(of.median(name::ALONE, "pickup p50 ms")? / one_statement(of)?),
    },
    Goal {
        name: "commits a step of a run alone",
        bound: AtMost(1.3),
        formed: "xact_commit of the database during alone ÷ steps; the start, the end and every other transaction included",
        value: |of| of.median(name::ALONE, "commits/step"),
    },
    Goal {
        name: "signal until the step that it releases / hop of a run alone",
        bound: AtMost(2.0),
        formed: "release p50 of signal-alone, from the call that sends the signal to the next handler, ÷ hop p50 of alone",
        value: |of| Some(of.median(name::SIGNAL_ALONE, "release p50 ms")? / of.median(name::ALONE, "hop p50 ms")?),
    },
    Goal {
        name: "signals into 10,000 waiting runs / limit₁",
        bound: AtLeast(3.0),
        formed: "signals/s of signals-10k, from the first call to the last answer while workers run what is released, ÷ limit₁",
        value: |of| Some(of.median(name::SIGNALS_10K, "signals/s")? / limit_1(of)?),
    },
    Goal {
        name: "hop p99 at half of peak, ms",
        bound: AtMost(25.0),
        formed: "hop p99 of arrival: runs arrive at half the steps/s of chain-10k-postgres, starts included",
        value: |of| of.median(name::ARRIVAL, "hop p99 ms"),
    },
    Goal {
        name: "commits a step",
        bound: AtMost(0.1),
        formed: "xact_commit of the database during chain-10k-postgres ÷ steps; claims and every other transaction included",
        value: |of| of.median(name::CHAIN_10K_POSTGRES, "commits/step"),
    },
    Goal {
        name: "WAL bytes a step / bare hop",
        bound: AtMost(1.5),
        formed: "WAL bytes of chain-10k-postgres ÷ steps ÷ the same of the bare hop in batches of 100",
        value: |of| ratio_of(of, "WAL bytes/step"),
    },
    Goal {
        name: "WAL bytes of a step with a large output / the output",
        bound: AtMost(1.2),
        formed: "WAL bytes of outputs-64k ÷ steps ÷ 64 KiB: five steps, none of which asks for the output of another",
        value: |of| Some(of.median(name::OUTPUTS_64K, "WAL bytes/step")? / name::LARGE_OUTPUT as f64),
    },
    Goal {
        name: "dead tuples a step / bare hop",
        bound: AtMost(1.5),
        formed: "rows updated and deleted (n_tup_upd + n_tup_del) during chain-10k-postgres ÷ steps ÷ the same of the bare hop",
        value: |of| ratio_of(of, "dead tuples/step"),
    },
    Goal {
        name: "fan-out 1 → 1,000 → 1: a sibling / a chain step",
        bound: AtMost(1.2),
        formed: "steps/s of chain-10k-postgres ÷ steps/s of fan-1000",
        value: |of| Some(of.median(name::CHAIN_10K_POSTGRES, "steps/s")? / of.median(name::FAN_1000, "steps/s")?),
    },
    Goal {
        name: "with finished runs stored / empty",
        bound: AtLeast(0.9),
        formed: "steps/s of history ÷ steps/s of chain-10k-postgres",
        value: |of| against_chain(of, name::HISTORY),
    },
    Goal {
        name: "with an old open snapshot / without",
        bound: AtLeast(0.7),
        formed: "steps/s of snapshot ÷ steps/s of chain-10k-postgres",
        value: |of| against_chain(of, name::SNAPSHOT),
    },
    Goal {
        name: "2 processes / 1 process",
        bound: AtLeast(1.0),
        formed: "steps/s of processes-2 ÷ steps/s of processes-1, each step's handler called once",
        value: |of| Some(of.median(name::PROCESSES_2, "steps/s")? / of.median(name::PROCESSES_1, "steps/s")?),
    },
    Goal {
        name: "idle: queries a second",
        bound: AtMost(1.0),
        formed: "statements that the server counts for the database of an idle process with default settings",
        value: |of| of.median(name::IDLE, "queries/s"),
    },
    Goal {
        name: "idle: % of a processor",
        bound: AtMost(0.5),
        formed: "processor time of the idle process ÷ time",
        value: |of| of.median(name::IDLE, "CPU %"),
    },
    Goal {
        name: "idle: MiB resident",
        bound: AtMost(40.0),
        formed: "resident memory of the idle process, which has worked off 1,000 runs and has others waiting",
        value: |of| of.median(name::IDLE, "resident MiB"),
    },
];

/// Returns `limit₁`: the bare hop, one per transaction, 16 clients; the faster of the two forms.
pub(super) fn limit_1(of: &Figures) -> Option<f64> {
    faster(of, "16 clients, five statements: hops/s", "16 clients, one statement: hops/s")
}

/// Returns `limit₁₀₀`: the same in batches of 100 by two connections.
pub(super) fn limit_100(of: &Figures) -> Option<f64> {
    faster(of, "batches of 100 by 2, five statements: hops/s", "batches of 100 by 2, one statement: hops/s")
}

fn faster(of: &Figures, one: &str, other: &str) -> Option<f64> {
    let limit = |measure| of.median(name::LIMITS_POSTGRES, measure);
    Some(limit(one)?.max(limit(other)?))
}

/// Returns the p50 of the bare hop by one client as one statement, in milliseconds.
fn one_statement(of: &Figures) -> Option<f64> {
    of.median(name::LIMITS_POSTGRES, "1 client, one statement: p50 ms")
}

fn cpu(of: &Figures, workload: &str) -> Option<f64> {
    Some(of.median(workload, "program CPU µs/step")? + of.median(workload, "server CPU µs/step")?)
}

fn ratio_of(of: &Figures, measure: &str) -> Option<f64> {
    Some(of.median(name::CHAIN_10K_POSTGRES, measure)? / of.median(name::LIMITS_POSTGRES, measure)?)
}

fn against_chain(of: &Figures, workload: &str) -> Option<f64> {
    Some(of.median(workload, "steps/s")? / of.median(name::CHAIN_10K_POSTGRES, "steps/s")?)
}

impl Goal {
    /// Returns the measured value; `None` where a workload is missing.
    pub(crate) fn value(&self, of: &Figures) -> Option<f64> {
        (self.value)(of)
    }

    /// Returns the direction in which the ratio becomes worse; `None` if it has no goal.
    pub(crate) fn worse(&self) -> Option<Worse> {
        match self.bound {
            AtLeast(_) => Some(Worse::Lower),
            AtMost(_) => Some(Worse::Higher),
            Orientation => None,
        }
    }

    fn is_met(&self, value: f64) -> bool {
        match self.bound {
            AtLeast(least) => value >= least,
            AtMost(most) => value <= most,
            Orientation => true,
        }
    }

    /// Returns the line of the table, with how the value was formed.
    pub(crate) fn line(&self, of: &Figures) -> Option<String> {
        let value = self.value(of)?;
        let bound = match self.bound {
            AtLeast(least) => format!("goal ≥ {least}"),
            AtMost(most) => format!("goal ≤ {most}"),
            Orientation => "no goal".to_owned(),
        };
        let met = match self.bound {
            Orientation => "",
            _ if self.is_met(value) => "met",
            _ => "NOT MET",
        };
        let mut line = String::new();
        let _ = write!(line, "{:<54} {:>10}   {bound:<11} {met:<8}", self.name, shown(value));
        let _ = write!(line, " ({})", self.formed);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Round;

    #[test]
    fn a_ratio_takes_the_faster_form_of_the_limit() {
        let mut figures = Figures::default();
        let limits = Round::new()
            .with("16 clients, five statements: hops/s", 4_000.0)
            .with("16 clients, one statement: hops/s", 5_000.0);
        figures.add(name::LIMITS_POSTGRES, &limits);
        figures.add(name::CHAIN_10K_POSTGRES, &Round::new().with("steps/s", 17_500.0));
        let goal = goals().first().unwrap();
        assert_eq!(goal.value(&figures), Some(3.5));
        assert!(goal.line(&figures).unwrap().contains("NOT MET"));
    }

    #[test]
    fn a_goal_without_its_workloads_is_silent() {
        assert!(goals().iter().all(|goal| goal.line(&Figures::default()).is_none()));
    }
}
