//! Nothing is done before its time: no retry before its delay has passed, no wait cut short, no deadline early.

use std::time::Duration;

use squidmesh_core::{Attempt, AttemptStatus, AuditKind, Failure, RunId, StepDefinition, StepKind};

use super::{EffectKind, Evidence, Findings, RunRecord, back_off};

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let Some(definition) = record.own_definition() else { continue };
        for run in record.state.steps.values() {
            let Some(declared) = definition.step(run.step.as_str()) else { continue };
            let tries: Vec<Attempt> = record.attempts(&run.step).collect();
            let mut failures = 0;
            for pair in tries.windows(2) {
                let [before, after] = pair else { continue };
                failures += u32::from(before.status == AttemptStatus::Failed);
                let delay = delay(evidence, *id, declared, before, failures);
                let Some((ended, trust)) = evidence.ended(*id, before) else { continue };
                let (began, _) = evidence.began(*id, after);
                findings.demand(began.after(trust) >= ended.after(delay), *id, || {
                    format!(
                        "attempt {} of {} began {:?} after the last, which is less than {delay:?}",
                        after.number,
                        run.step,
                        began.since(ended)
                    )
                });
            }
            if let (StepKind::Wait { duration }, Some(first)) = (&declared.kind, tries.first()) {
                let watched = evidence.times.scheduled.get(&(*id, run.step.clone()));
                let (scheduled, trust) =
                    watched.map_or((run.created_at, evidence.skew), |time| (*time, Duration::ZERO));
                let (began, _) = evidence.began(*id, first);
                findings.demand(began.after(trust) >= scheduled.after(*duration), *id, || {
                    format!("{} waited {:?} of {duration:?}", run.step, began.since(scheduled))
                });
            }
            check_deadline(evidence, findings, *id, record, declared, &tries);
        }
    }
}

/// How long after a try the next may begin.
fn delay(evidence: &Evidence, id: RunId, declared: &StepDefinition, before: &Attempt, failures: u32) -> Duration {
    let retried = before.status == AttemptStatus::Failed
        && before.error.as_ref().is_some_and(|error| error.kind != Failure::STALE_RUNNING_STEP);
    if !retried {
        return Duration::ZERO;
    }
    let asked = evidence.effects.iter().rev().find(|effect| {
        effect.kind == EffectKind::Step
            && (effect.run_id, &effect.step, effect.attempt) == (id, &declared.name, before.number)
    });
    let cut_off = before.error.as_ref().is_some_and(|error| [Failure::TIMEOUT, Failure::PANIC].contains(&&*error.kind));
    asked
        .filter(|_| !cut_off)
        .and_then(|effect| effect.retry_after)
        .unwrap_or_else(|| back_off::shortest(&declared.retry, failures))
}

fn check_deadline(
    evidence: &Evidence,
    findings: &mut Findings,
    id: RunId,
    record: &RunRecord,
    declared: &StepDefinition,
    tries: &[Attempt],
) {
    let expired = record
        .history
        .audit
        .iter()
        .any(|entry| entry.kind == AuditKind::Expired && entry.step.as_ref() == Some(&declared.name));
    let (true, Some(deadline), Some(last)) = (expired, &declared.deadline, tries.last()) else { return };
    let Some((ended, trust)) = evidence.ended(id, last) else { return };
    let (began, _) = evidence.began(id, last);
    findings.demand(ended.after(trust) >= began.after(deadline.after), id, || {
        format!("the deadline of {} came {:?} after it began to wait", declared.name, ended.since(began))
    });
}
