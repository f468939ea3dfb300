//! A run's end is final and explained, and its status is true.

use squidmesh_core::RunStatus;
use squidmesh_core::definition::Shape;
use squidmesh_core::run::{AuditKind, StepStatus};

use crate::evidence::{Act, Answer, Evidence};
use crate::findings::Findings;
use crate::life_cycle;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let run = &record.state.run;
        findings.demand(life_cycle::is_over(run.status) == run.finished_at.is_some(), *id, || {
            format!("it is {} and finished at {:?}", run.status, run.finished_at)
        });
        let audited = |kind| record.history.audit.iter().any(|entry| entry.kind == kind);
        match run.status {
            RunStatus::Failed => findings.demand(run.last_error.is_some(), *id, || "it failed and says not why".into()),
            RunStatus::Cancelling | RunStatus::Cancelled => {
                findings.demand(audited(AuditKind::Cancelled), *id, || "no operator cancelled it".into());
            }
            RunStatus::Completed => {
                let open =
                    record.state.steps.values().find(|step| {
                        matches!(step.status, StepStatus::Pending | StepStatus::Running | StepStatus::Paused)
                    });
                findings.demand(open.is_none(), *id, || format!("it is completed, and {} is open", open.unwrap().step));
                if let Some(definition) = record.own_definition().filter(|found| found.shape() == Shape::Dependencies) {
                    let done = record.state.in_status(StepStatus::Completed).count();
                    findings.demand(done == definition.steps().len(), *id, || {
                        format!("it is completed with {done} of {} steps", definition.steps().len())
                    });
                }
            }
            _ => {}
        }
        let cancelled = matches!(run.status, RunStatus::Cancelling | RunStatus::Cancelled | RunStatus::Failed);
        findings.demand(cancelled || !audited(AuditKind::Cancelled), *id, || {
            format!("it was cancelled, and is {}", run.status)
        });
    }
    for call in &evidence.calls {
        if let (Act::Cancel(id), Answer::Ok(_)) = (&call.act, &call.answer) {
            let record = evidence.runs.get(id);
            let known = record
                .is_some_and(|record| record.history.audit.iter().any(|entry| entry.kind == AuditKind::Cancelled));
            findings.demand(known, *id, || "its cancellation was confirmed, and is not recorded".into());
        }
    }
}
