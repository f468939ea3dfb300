//! What is told is what was committed.

use squidmesh_core::{AttemptStatus, CompensationStatus, Event, EventKind, RunStatus, StepName, StepStatus};

use super::{Evidence, Findings, RunRecord, Violation, life_cycle, rules};

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for event in &evidence.events {
        check_event(event, evidence.runs.get(&event.run_id), findings);
    }
}

/// Judges an event at the moment in which it is told: what it says must be stored by then.
pub fn check_told(event: &Event, record: Option<&RunRecord>) -> Vec<Violation> {
    let mut findings = Findings::of(rules::EVENTS);
    check_event(event, record, &mut findings);
    findings.into_violations()
}

/// What an event says stays true for ever, so it does not matter how much later it is looked at.
fn check_event(event: &Event, record: Option<&RunRecord>, findings: &mut Findings) {
    let Some(record) = record else {
        findings.add(event.run_id, format!("{} was told of a run that is not there", event.kind.name()));
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
        EventKind::RunTransition { from, to } => {
            let status = record.state.run.status;
            life_cycle::moves(*from).contains(to) && (!life_cycle::is_over(*to) || status == *to)
        }
        EventKind::StepStarted { step, attempt: number } => attempt(step, *number).is_some(),
        EventKind::StepCompleted { step, attempt: number, .. } => {
            let status = record.state.steps.get(step).map(|run| run.status);
            attempt(step, *number) == Some(AttemptStatus::Completed) && status == Some(StepStatus::Completed)
        }
        EventKind::StepFailed { step, attempt: number, .. } => attempt(step, *number) == Some(AttemptStatus::Failed),
        EventKind::CompensationStarted { step } => callback(step).is_some(),
        EventKind::CompensationCompleted { step } => callback(step) == Some(CompensationStatus::Completed),
        EventKind::CompensationFailed { step, .. } => callback(step) == Some(CompensationStatus::Failed),
        EventKind::Audited { kind, step, .. } => {
            record.history.audit.iter().any(|entry| entry.kind == *kind && entry.step == *step)
        }
        _ => true,
    };
    findings.demand(holds, event.run_id, || format!("{:?} was told, and is not so", event.kind));
    let ended = matches!(event.status, RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled);
    findings.demand(!ended || record.state.run.status == event.status, event.run_id, || {
        format!("{} was told of a {} run, which is {}", event.kind.name(), event.status, record.state.run.status)
    });
}
