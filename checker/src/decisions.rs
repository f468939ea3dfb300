//! A step that waits for a person is decided once, and the decision is its output.
//!
//! Nobody decides about a step that waits for a signal; but the trail has the passing of its deadline too.

use squidmesh_core::definition::StepName;
use squidmesh_core::run::{AuditKind, FailureKind, StepRun, StepStatus};

use crate::evidence::{Act, Answer, Evidence, RunRecord};
use crate::findings::Findings;
use crate::signals::awaited;

const DECISIONS: [AuditKind; 4] = [AuditKind::Approved, AuditKind::Rejected, AuditKind::Expired, AuditKind::Unblocked];

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let decisions = |step: &StepName| {
            let of_step = record.history.audit.iter().filter(move |entry| entry.step.as_ref() == Some(step));
            of_step.filter(|entry| DECISIONS.contains(&entry.kind)).map(|entry| entry.kind).collect::<Vec<_>>()
        };
        for run in record.state.steps.values().filter(|run| !record.is_given(&run.step)) {
            let found = decisions(&run.step);
            let decided = match awaited(run) {
                None => run.manual.as_ref().map(|manual| manual.decision.as_str()),
                Some(_) => has_expired(record, run).then(|| AuditKind::Expired.as_str()),
            };
            let same = found.iter().map(|kind| kind.as_str()).eq(decided);
            findings
                .demand(same, *id, || format!("{} was decided {decided:?}, and the trail says {found:?}", run.step));
        }
        for (kind, act) in [
            (AuditKind::Approved, Act::Approve(*id)),
            (AuditKind::Rejected, Act::Reject(*id)),
            (AuditKind::Unblocked, Act::Unblock(*id)),
        ] {
            let confirmed =
                evidence.calls.iter().filter(|call| call.act == act && matches!(call.answer, Answer::Ok(_)));
            let recorded = record.history.audit.iter().filter(|entry| entry.kind == kind);
            let (confirmed, recorded) = (confirmed.count(), recorded.count());
            findings.demand(confirmed <= recorded, *id, || {
                format!("{} was confirmed {confirmed} times, and recorded {recorded} times", kind.as_str())
            });
        }
    }
}

/// Returns whether a step has waited for a signal in vain, in this run.
fn has_expired(record: &RunRecord, run: &StepRun) -> bool {
    let last = record.attempts(&run.step).last().and_then(|last| last.error);
    run.status == StepStatus::Failed && last.is_some_and(|error| error.kind == FailureKind::EXPIRED)
}
