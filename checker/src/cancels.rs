//! No attempt begins, and no step is scheduled, once a cancellation is confirmed.

use std::time::Duration;

use squidmesh_core::run::AuditKind;

use crate::evidence::Evidence;
use crate::findings::Findings;
use crate::life_cycle;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let Some(entry) = record.history.audit.iter().find(|entry| entry.kind == AuditKind::Cancelled) else {
            continue;
        };
        let watched = evidence.times.cancelled.get(id);
        let (cancelled, trust) = watched.map_or((entry.at, evidence.skew), |time| (*time, Duration::ZERO));
        for attempt in &record.history.attempts {
            let (began, _) = evidence.began(*id, attempt);
            findings.demand(began <= cancelled.after(trust), *id, || {
                format!(
                    "attempt {} of {} began {:?} after it was cancelled",
                    attempt.number,
                    attempt.step,
                    began.since(cancelled)
                )
            });
        }
        if life_cycle::is_over(record.state.run.status) {
            for run in record.state.steps.values() {
                findings
                    .demand(run.finished_at.is_some(), *id, || format!("it was cancelled, and {} is open", run.step));
            }
        }
    }
}
