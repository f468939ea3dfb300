//! Nothing happens before its time: no retry before its delay has passed, no wait cut short, no deadline early.

use std::time::Duration;

use squidmesh_core::RunId;
use squidmesh_core::definition::{StepDefinition, StepKind};
use squidmesh_core::run::{Attempt, AttemptStatus, AuditKind, FailureKind};

use crate::back_off;
use crate::evidence::{EffectKind, Evidence, RunRecord};
use crate::findings::Findings;

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
                let counted = failures.saturating_sub(lived(record, before)).max(1);
                let delay = delay(evidence, *id, declared, before, counted);
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

/// Returns how many attempts up to this one were taken over from workers that lived: they may have ceased to count as
/// failures.
fn lived(record: &RunRecord, last: &Attempt) -> u32 {
    let of_step = record.history.audit.iter().filter(|entry| {
        let attempt = entry.metadata.as_ref().and_then(|facts| facts.get("attempt")?.as_u64());
        entry.kind == AuditKind::Lived
            && entry.step.as_ref() == Some(&last.step)
            && attempt.is_some_and(|attempt| attempt < u64::from(last.number))
    });
    u32::try_from(of_step.count()).unwrap_or(u32::MAX)
}

/// Returns the delay after an attempt before which the next must not begin.
fn delay(evidence: &Evidence, id: RunId, declared: &StepDefinition, before: &Attempt, failures: u32) -> Duration {
    let retried = before.status == AttemptStatus::Failed
        && before.error.as_ref().is_some_and(|error| error.kind != FailureKind::STALE_RUNNING_STEP);
    if !retried {
        return Duration::ZERO;
    }
    let asked = evidence.effects.iter().rev().find(|effect| {
        effect.kind == EffectKind::Step
            && (effect.run_id, &effect.step, effect.attempt) == (id, &declared.name, before.number)
    });
    let cut_off =
        before.error.as_ref().is_some_and(|error| [FailureKind::TIMEOUT, FailureKind::PANIC].contains(&error.kind));
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
