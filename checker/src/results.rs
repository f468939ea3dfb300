//! A completed step has exactly one result: the one of its last attempt.

use std::collections::BTreeMap;

use squidmesh_core::definition::{Guard, StepKind};
use squidmesh_core::run::{AttemptStatus, AuditKind, FailureKind, PausedContinuation, StepRun, StepStatus};

use crate::evidence::{EffectKind, Evidence, RunRecord};
use crate::findings::Findings;

fn takes_error_route(record: &RunRecord, run: &StepRun) -> bool {
    if let Some(stored) = run.continuation.as_ref().filter(|stored| stored.signal.is_some()) {
        return run.last_error.as_ref().is_some_and(|failure| leads_on(stored, &failure.kind));
    }
    // The failure of the run, if this step ended it: a step keeps the failure of its last attempt.
    let of_run = record.state.run.last_error.as_ref().filter(|failure| failure.step.as_ref() == Some(&run.step));
    let Some(failure) = of_run.or(run.last_error.as_ref()) else { return false };
    let definition = record.own_definition();
    definition.is_some_and(|found| found.transition_on_failure(run.step.as_str(), failure.kind.as_str()).is_some())
}

/// Returns whether the run continued after a step that waited for a signal failed: by what was declared as it began to
/// wait.
fn leads_on(stored: &PausedContinuation, kind: &FailureKind) -> bool {
    let of_kind = |guard: &Guard| matches!(guard, Guard::Kind(of) if *kind == of.as_str());
    let is_guarded = stored.guarded.iter().any(|transition| transition.guard.as_ref().is_some_and(of_kind));
    is_guarded || stored.error.is_some() || (stored.own_deadline && *kind == FailureKind::EXPIRED)
}

/// Returns whether the run may have been cancelling when its step failed: then the error transition is not taken.
fn failed_cancelling(evidence: &Evidence, record: &RunRecord, run: &StepRun) -> bool {
    let id = record.state.run.id;
    let Some(entry) = record.history.audit.iter().find(|entry| entry.kind == AuditKind::Cancelled) else {
        return false;
    };
    let cancelled = evidence.times.cancelled.get(&id).copied().unwrap_or(entry.at);
    let failed = record.attempts(&run.step).last().and_then(|attempt| evidence.ended(id, &attempt));
    failed.is_none_or(|(failed, trust)| cancelled <= failed.after(trust))
}

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let mut sequences = BTreeMap::new();
        for run in record.state.steps.values() {
            if record.is_given(&run.step) {
                let from = record.state.run.resumed_from.and_then(|from| evidence.runs.get(&from));
                let first = from.and_then(|from| from.state.steps.get(&run.step)).map(|first| &first.output);
                findings.demand(first.is_none_or(|first| *first == run.output), *id, || {
                    format!("{} was given another output than it had", run.step)
                });
                continue;
            }
            let completed: Vec<_> =
                record.attempts(&run.step).filter(|attempt| attempt.status == AttemptStatus::Completed).collect();
            let wanted = usize::from(run.status == StepStatus::Completed);
            findings.demand(completed.len() == wanted, *id, || {
                format!("{} is {}, and {} of its attempts completed", run.step, run.status.as_str(), completed.len())
            });
            findings.demand(run.output.is_some() == (wanted == 1), *id, || {
                format!("{} is {}, and has an output: {}", run.step, run.status.as_str(), run.output.is_some())
            });
            // A failed step whose error transition was taken has a place in the sequence of completed steps.
            let led_on = run.status == StepStatus::Failed && takes_error_route(record, run);
            // The transitions of an adopted run at the time its step failed are not known.
            let inherited = evidence.inherited.contains(id);
            let unknown = inherited || record.own_definition().is_none() || failed_cancelling(evidence, record, run);
            let open = run.status == StepStatus::Failed && unknown;
            findings.demand(open || run.sequence.is_some() == (wanted == 1 || led_on), *id, || {
                format!("{} is {}, and has the sequence {:?}", run.step, run.status.as_str(), run.sequence)
            });
            if let Some(other) = run.sequence.and_then(|sequence| sequences.insert(sequence, &run.step)) {
                findings.add(*id, format!("{} and {other} completed at once", run.step));
            }
            let (Some(output), Some(last)) = (&run.output, completed.last()) else { continue };
            findings.demand(last.number == run.attempt, *id, || {
                format!("{} has the result of attempt {} of {}", run.step, last.number, run.attempt)
            });
            let handled = record.definition.as_ref().and_then(|found| found.step(run.step.as_str()));
            if evidence.effects.is_empty() || handled.is_none_or(|found| found.kind != StepKind::Handler) {
                continue;
            }
            match evidence.effect_of(output) {
                Some((number, Some(effect))) => {
                    let own = effect.run_id == *id
                        && effect.step == run.step
                        && effect.kind == EffectKind::Step
                        && effect.attempt == last.number;
                    findings.demand(own, *id, || {
                        format!("{} attempt {} has the result {number}, which is of {effect:?}", run.step, last.number)
                    });
                }
                found => findings.add(*id, format!("{} has a result of no handler: {found:?}", run.step)),
            }
        }
    }
}
