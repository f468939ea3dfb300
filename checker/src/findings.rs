//! The violations of rules.

use std::fmt;

use squidmesh_core::RunId;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the rule.
    pub rule: &'static str,
    /// The run that breaks the rule, if it is about one.
    pub run: Option<RunId>,
    /// The contradicting finding.
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
    pub(super) rule: &'static str,
    violations: Vec<Violation>,
}

impl Findings {
    pub(super) fn of(rule: &'static str) -> Self {
        Findings { rule, violations: Vec::new() }
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    pub(super) fn add(&mut self, run: RunId, what: impl Into<String>) {
        self.violations.push(Violation { rule: self.rule, run: Some(run), what: what.into() });
    }

    /// Adds a violation unless a condition holds.
    pub(super) fn demand(&mut self, holds: bool, run: RunId, what: impl FnOnce() -> String) {
        if !holds {
            self.add(run, what());
        }
    }
}
