//! What must hold of every history, one rule a file.
//!
//! The evidence is what a store holds, read through its port, and what was seen from outside: a ledger of what handlers did, a
//! log of what clients asked and were answered, and the events that were told. Whatever of it a test does not have stays empty,
//! and the rules that need it have nothing to say.
//!
//! Knows what the runtime promises; never how it keeps it.

mod answers;
mod attempts;
mod back_off;
mod callbacks;
mod cancels;
mod compensations;
mod decisions;
mod events;
mod evidence;
mod fences;
mod inputs;
mod intents;
mod joins;
mod life_cycle;
mod lives;
mod moves;
mod occurrences;
mod rest;
mod results;
mod retries;
mod rows;
pub mod rules;
mod snapshots;
mod starts;
#[cfg(test)]
mod tests;

use std::fmt;

use squidmesh_core::RunId;

pub(crate) use callbacks::end;
pub use callbacks::{End, Try};
pub use events::check_told;
pub use evidence::{Act, Answer, Call, Effect, EffectKind, Evidence, RunRecord, Times};
pub use moves::{Change, check_change};
pub(crate) use moves::{begun, ended};

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// Of which run, where it is about one.
    pub run: Option<RunId>,
    /// What was found instead.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run {
            Some(run) => write!(f, "[{}] run {run}: {}", self.rule, self.what),
            None => write!(f, "[{}] {}", self.rule, self.what),
        }
    }
}

/// The violations found so far.
#[derive(Debug, Default)]
pub struct Findings {
    rule: &'static str,
    violations: Vec<Violation>,
}

impl Findings {
    fn of(rule: &'static str) -> Self {
        Findings { rule, violations: Vec::new() }
    }

    fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    fn add(&mut self, run: RunId, what: impl Into<String>) {
        self.violations.push(Violation { rule: self.rule, run: Some(run), what: what.into() });
    }

    /// Notes a violation unless something holds.
    fn demand(&mut self, holds: bool, run: RunId, what: impl FnOnce() -> String) {
        if !holds {
            self.add(run, what());
        }
    }
}

type Rule = (&'static str, fn(&Evidence, &mut Findings));

/// What must hold at any time.
const ALWAYS: &[Rule] = &[
    (rules::STARTS, starts::check),
    (rules::ANSWERS, answers::check),
    (rules::LIVES, lives::check),
    (rules::NUMBERS, attempts::check_numbers),
    (rules::LIMITS, attempts::check_limits),
    (rules::RESULTS, results::check),
    (rules::TIMES, retries::check),
    (rules::JOINS, joins::check),
    (rules::SNAPSHOTS, snapshots::check),
    (rules::INPUTS, inputs::check),
    (rules::CANCELS, cancels::check),
    (rules::COMPENSATIONS, compensations::check),
    (rules::CALLBACKS, callbacks::check),
    (rules::DECISIONS, decisions::check),
    (rules::EVENTS, events::check),
    (rules::INTENTS, intents::check),
    (rules::OCCURRENCES, occurrences::check),
    (rules::ROWS, rows::check),
];

/// What must hold besides, once nothing moves any more.
const AT_REST: &[Rule] = &[(rules::REST, rest::check), (rules::OWED, compensations::check_rest)];

/// Judges a history that may still go on.
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    judge(evidence, ALWAYS)
}

/// Judges a history in which everything has come to rest.
pub fn check_at_rest(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = judge(evidence, ALWAYS);
    violations.extend(judge(evidence, AT_REST));
    violations
}

fn judge(evidence: &Evidence, rules: &[Rule]) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (rule, check) in rules {
        findings.rule = rule;
        check(evidence, &mut findings);
    }
    findings.violations
}
