//! What is pending or running has one live intent; so has a paused step with a deadline; and nothing else has.

use std::collections::BTreeSet;

use squidmesh_core::{RunStatus, StepName, StepStatus};

use super::{Evidence, Findings};

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let runs = record.state.steps.values();
        let dispatched = runs.filter(|run| match run.status {
            StepStatus::Pending | StepStatus::Running => true,
            StepStatus::Paused => run.resume.as_ref().is_some_and(|resume| resume.expired.is_some()),
            _ => false,
        });
        let wanted: BTreeSet<&StepName> = dispatched.map(|run| &run.step).collect();
        let intents = &record.history.intents;
        let found: BTreeSet<&StepName> = intents.iter().filter_map(|intent| intent.key.target.step()).collect();
        let status = record.state.run.status;
        findings.demand(wanted == found, *id, || {
            format!("it is {status}; {wanted:?} are to be done, {found:?} dispatched")
        });
        let distinct: BTreeSet<_> = intents.iter().map(|intent| &intent.key).collect();
        findings.demand(distinct.len() == intents.len(), *id, || "a target is dispatched twice".into());
        let running = record.state.in_status(StepStatus::Running).count();
        let owed = status == RunStatus::Failed
            && running == 0
            && record.state.steps.values().any(|run| {
                let ended = run.compensation.as_ref().is_some_and(|callback| callback.finished_at.is_some());
                run.status == StepStatus::Completed && run.recovery.compensated_by_handler && !ended
            });
        let compensation = intents.iter().any(|intent| intent.key.target.step().is_none());
        findings.demand(compensation || !owed, *id, || "its compensation is owed, and not dispatched".into());
        findings.demand(!compensation || status == RunStatus::Failed, *id, || {
            format!("it is {status}, and its compensation is dispatched")
        });
    }
}
