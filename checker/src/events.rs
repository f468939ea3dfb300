//! Events report what was committed.

use squidmesh_core::RunStatus;
use squidmesh_core::definition::StepName;
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::run::{AttemptStatus, CompensationStatus, StepStatus};

use crate::evidence::{Evidence, RunRecord};
use crate::findings::{Findings, Violation};
use crate::{life_cycle, rules};

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for event in &evidence.events {
        check_event(event, evidence.runs.get(&event.run_id), findings);
    }
}

/// Checks an event at the moment it is emitted: what it reports must be stored by then.
pub fn check_emitted(event: &Event, record: Option<&RunRecord>) -> Vec<Violation> {
    let mut findings = Findings::of(rules::EVENTS);
    check_event(event, record, &mut findings);
    findings.into_violations()
}

/// What an event reports stays true for ever, so it does not matter how much later it is checked.
fn check_event(event: &Event, record: Option<&RunRecord>, findings: &mut Findings) {
    let Some(record) = record else {
        findings.add(event.run_id, format!("{} was emitted for a run that is not there", event.kind.name()));
        return;
    };
    let attempt = |step: &StepName, number: u32| {
        let found = record.attempts(step).find(|attempt| attempt.number == number);
        found.map(|attempt| attempt.status)
    };
    let callback = |step: &StepName| {
        let found = record.state.steps.get(step).and_then(|run| run.compensation.as_ref());
        found.map(|callback| callback.status)
    };
    let holds = match &event.kind {
        EventKind::RunTransition { from, to, .. } => {
            let status = record.state.run.status;
            life_cycle::transitions(*from).contains(to) && (!life_cycle::is_over(*to) || status == *to)
        }
        EventKind::StepStarted { step, attempt: number } => attempt(step, *number).is_some(),
        EventKind::StepCompleted { step, attempt: number, .. } => {
            let status = record.state.steps.get(step).map(|run| run.status);
            attempt(step, *number) == Some(AttemptStatus::Completed) && status == Some(StepStatus::Completed)
        }
        EventKind::StepFailed { step, attempt: number, .. } => attempt(step, *number) == Some(AttemptStatus::Failed),
        EventKind::CompensationStarted { step, .. } => callback(step).is_some(),
        EventKind::CompensationCompleted { step, .. } => callback(step) == Some(CompensationStatus::Completed),
        EventKind::CompensationFailed { step, .. } => callback(step) == Some(CompensationStatus::Failed),
        EventKind::Audited { kind, step, .. } => {
            record.history.audit.iter().any(|entry| entry.kind == *kind && entry.step == *step)
        }
        _ => true,
    };
    findings.demand(holds, event.run_id, || format!("{:?} was emitted, and is false", event.kind));
    let ended = matches!(event.status, RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled);
    findings.demand(!ended || record.state.run.status == event.status, event.run_id, || {
        format!("{} was emitted for a {} run, which is {}", event.kind.name(), event.status, record.state.run.status)
    });
}
