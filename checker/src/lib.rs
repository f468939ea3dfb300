//! What must hold of every history, one rule a file.
//!
//! The evidence is what a store holds, read through its port, and what was observed from outside: a ledger of what
//! handlers did, a log of what clients asked and were answered, and the emitted events. Evidence that a test does not
//! have stays empty, and the rules that need it find nothing.
//!
//! Knows what the runtime promises; never how it keeps its promises, nor any database.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "what cannot continue here has found a defect, and names are documentation"
)]

mod answers;
mod attempts;
mod back_off;
mod callbacks;
mod cancels;
mod change;
mod compensations;
mod decisions;
mod events;
mod evidence;
mod fences;
mod findings;
mod inputs;
mod intents;
mod joins;
mod life_cycle;
mod occurrences;
mod quiescence;
mod results;
mod retries;
mod rows;
pub mod rules;
mod senders;
mod signal_trail;
mod signals;
mod snapshots;
mod starts;
mod terminal_states;
#[cfg(test)]
mod tests;
mod transitions;
mod tries;
mod ways;

pub use change::{Change, begun, ended};
pub use events::check_emitted;
pub use evidence::{Act, Addressee, Answer, Call, Effect, EffectKind, Evidence, RunRecord, Signal, Times};
pub use findings::{Findings, Violation};
pub use tries::{End, Try, end};

type Rule = (&'static str, fn(&Evidence, &mut Findings));

/// The rules that hold at any time.
const ALWAYS: &[Rule] = &[
    (rules::STARTS, starts::check),
    (rules::ANSWERS, answers::check),
    (rules::TERMINAL_STATES, terminal_states::check),
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
    (rules::SENDERS, senders::check),
];

/// The rules that hold besides at rest.
const AT_REST: &[Rule] = &[(rules::QUIESCENCE, quiescence::check), (rules::OWED, compensations::check_rest)];

/// Checks a history that may still continue.
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    judge(evidence, ALWAYS)
}

/// Checks a history in which everything has come to rest.
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
    findings.into_violations()
}

/// Judges a single change.
type OfChange = fn(&Change<'_>, &mut Findings);

/// The rules for single changes.
const OF_CHANGES: &[(&str, OfChange)] = &[
    (rules::TRANSITIONS, transitions::check_status),
    (rules::FINAL, transitions::check_final),
    (rules::FENCED, fences::check_change),
    (rules::CALLBACKS, callbacks::check_change),
    (rules::BEGINNINGS, transitions::check_beginnings),
    (rules::SEQUENCE, transitions::check_order),
    (rules::WAYS, ways::check),
    (rules::SIGNALS, signals::check),
    (rules::SIGNAL_TRAIL, signal_trail::check),
];

/// Checks one change.
pub fn check_change(change: &Change<'_>) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (rule, check) in OF_CHANGES {
        findings.rule = rule;
        check(change, &mut findings);
    }
    findings.into_violations()
}
