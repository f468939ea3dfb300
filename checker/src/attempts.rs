//! Attempts are numbered 1, 2, … without gaps, only the last may be open, and a step has no more than it may have.

use squidmesh_core::run::{Attempt, AttemptStatus, AuditKind, FailureKind, StepStatus};

use crate::evidence::{Evidence, RunRecord};
use crate::findings::Findings;

pub(super) fn check_numbers(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        for run in record.state.steps.values() {
            let tries: Vec<_> = record.attempts(&run.step).collect();
            findings.demand(tries.len() == run.attempt as usize, *id, || {
                format!("{} is at attempt {}, and {} are recorded", run.step, run.attempt, tries.len())
            });
            let open = matches!(run.status, StepStatus::Running | StepStatus::Paused);
            for (place, attempt) in tries.iter().enumerate() {
                let name = || format!("attempt {} of {}", attempt.number, run.step);
                findings.demand(attempt.number as usize == place + 1, *id, || {
                    format!("{} is number {}", name(), place + 1)
                });
                let running = attempt.status == AttemptStatus::Running;
                findings.demand(running == (open && place + 1 == tries.len()), *id, || {
                    format!("{} is {}, and the step is {}", name(), attempt.status.as_str(), run.status.as_str())
                });
                findings.demand(running == attempt.finished_at.is_none(), *id, || {
                    format!("{} is {} and finished at {:?}", name(), attempt.status.as_str(), attempt.finished_at)
                });
            }
        }
        let orphan = record.history.attempts.iter().find(|attempt| !record.state.steps.contains_key(&attempt.step));
        findings.demand(orphan.is_none(), *id, || format!("an attempt of {} has no step run", orphan.unwrap().step));
    }
}

pub(super) fn check_limits(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        for run in record.state.steps.values() {
            let failed = record.attempts(&run.step).filter(|attempt| attempt.status == AttemptStatus::Failed);
            // A takeover from a worker that turned out to live uses up no attempt.
            let failed = failed.filter(|attempt| !lived(record, attempt)).count();
            let declared = record.own_definition().and_then(|definition| definition.step(run.step.as_str()));
            if let Some(declared) = declared {
                let most = declared.retry.max_attempts();
                findings.demand(failed <= most as usize, *id, || {
                    format!("{} failed {failed} times, and may be tried {most} times", run.step)
                });
            }
            let Some(limit) = evidence.crash_limit else { continue };
            let mut crashes = 0;
            for attempt in record.attempts(&run.step) {
                let stale = attempt.error.as_ref().is_some_and(|error| error.kind == FailureKind::STALE_RUNNING_STEP);
                // An interruption is recorded by a worker that shuts down: it neither counts as a crash nor clears
                // the count.
                if attempt.status != AttemptStatus::Interrupted {
                    let stale = stale && !lived(record, &attempt);
                    crashes = if stale { crashes + 1 } else { 0 };
                }
                findings.demand(crashes <= limit, *id, || {
                    format!("{} ended with its worker {crashes} times in a row, and continues", run.step)
                });
            }
        }
    }
}

/// Returns whether the worker of an attempt that was taken over turned out to live.
fn lived(record: &RunRecord, attempt: &Attempt) -> bool {
    record.history.audit.iter().any(|event| {
        event.kind == AuditKind::Lived
            && event.step.as_ref() == Some(&attempt.step)
            && event.metadata.as_ref().and_then(|facts| facts.get("attempt")) == Some(&attempt.number.into())
    })
}
