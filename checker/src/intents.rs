//! Exactly these have one live intent: pending and running steps, and paused steps with a deadline.

use std::collections::BTreeSet;

use squidmesh_core::RunStatus;
use squidmesh_core::definition::StepName;
use squidmesh_core::run::StepStatus;

use crate::evidence::Evidence;
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let runs = record.state.steps.values();
        let dispatched = runs.filter(|run| match run.status {
            StepStatus::Pending | StepStatus::Running => true,
            StepStatus::Paused => run.continuation.as_ref().is_some_and(|resume| resume.expired.is_some()),
            _ => false,
        });
        let wanted: BTreeSet<&StepName> = dispatched.map(|run| &run.step).collect();
        let intents = &record.history.intents;
        let found: BTreeSet<&StepName> = intents.iter().filter_map(|intent| intent.key.target.step()).collect();
        let status = record.state.run.status;
        // A host may dispatch a completed step again. Only a process that knows the version delivers it and removes
        // the intent.
        let delivered = evidence.registered.as_ref().is_none_or(|known| known.contains(&record.state.run.fingerprint));
        let again =
            |step: &&StepName| record.state.steps.get(*step).is_some_and(|run| run.status == StepStatus::Completed);
        let found: BTreeSet<&StepName> = found.into_iter().filter(|step| delivered || !again(step)).collect();
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
