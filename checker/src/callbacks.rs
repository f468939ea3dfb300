//! A compensation callback is executed once. It is repeated only after it failed, was interrupted or lost its lease,
//! and then neither before its delay has passed nor more often than its policy allows.

use std::time::Duration;

use squidmesh_core::definition::StepName;
use squidmesh_core::dispatch::DispatchTarget;
use squidmesh_core::port::IntentWrite;
use squidmesh_core::run::{CompensationRun, CompensationStatus, FailureKind};
use squidmesh_core::{Retry, RunId};

use crate::back_off;
use crate::change::{Change, written};
use crate::evidence::{EffectKind, Evidence};
use crate::findings::Findings;
use crate::tries::{End, Try, end};

/// Checks how a single change may change a callback.
pub(super) fn check_change(change: &Change<'_>, findings: &mut Findings) {
    let id = change.after.run.id;
    for (step, old, new) in written(change) {
        let of = |what: &str| format!("the compensation of {} {what}: {old:?} became {new:?}", step.step);
        let (attempt, failures, crashes) = old.map_or((0, 0, 0), |old| (old.attempt, old.failures, old.crashes));
        let begins = new.attempt > attempt;
        findings.demand(new.attempt == attempt + u32::from(begins), id, || of("has a gap in its attempts"));
        findings.demand(!begins || new.status == CompensationStatus::Running, id, || of("began and does not run"));
        let end = old.and_then(|old| end(old, new));
        let open = old.is_some_and(|old| old.status == CompensationStatus::Running);
        findings.demand(!begins || !open || end == Some(End::Lost), id, || of("began while it was under way"));
        let ended = new.status == CompensationStatus::Completed || new.status == CompensationStatus::Failed;
        findings.demand(ended || (new.output.is_none() && new.finished_at.is_none()), id, || of("is to be repeated"));
        let counts = match &end {
            Some(End::Lost) => (failures, crashes + 1),
            // A refused output is not a failure that another attempt could fix.
            Some(End::Failed(kind)) if *kind == FailureKind::INVALID_OUTPUT => (failures, crashes),
            Some(End::Failed(_)) => (failures + 1, 0),
            _ => (failures, crashes),
        };
        findings.demand((new.failures, new.crashes) == counts, id, || of("is counted wrongly"));
        if let (Some(End::Interrupted), Some(old)) = (&end, old) {
            findings.demand(new.error == old.error, id, || of("failed, and that is not counted"));
            let due = change.commit.intents.iter().any(|write| match write {
                IntentWrite::Add(intent) | IntentWrite::Replace(intent) => {
                    intent.key.target == DispatchTarget::Compensation && intent.lease.is_none()
                }
                _ => false,
            });
            findings.demand(due, id, || of("is put off, and not dispatched"));
        }
    }
}

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        for run in record.state.steps.values() {
            let Some(callback) = &run.compensation else { continue };
            check_counts(evidence, findings, *id, &run.step, callback);
            let declared = record.own_definition().and_then(|definition| definition.step(run.step.as_str()));
            let retry = declared.map(|declared| declared.compensation_retry.as_ref());
            if let Some(retry) = retry {
                let most = retry.map_or(1, Retry::max_attempts);
                findings.demand(callback.failures <= most, *id, || {
                    format!("the compensation of {} failed {} times, of {most}", run.step, callback.failures)
                });
            }
            match evidence.times.callbacks.get(&(*id, run.step.clone())) {
                Some(tries) => check_tries(evidence, findings, *id, &run.step, tries, retry.flatten()),
                None => check_sum(evidence, findings, *id, &run.step, callback, retry.flatten()),
            }
        }
    }
}

/// Every failure, every loss and the end had an attempt of its own.
fn check_counts(evidence: &Evidence, findings: &mut Findings, id: RunId, step: &StepName, callback: &CompensationRun) {
    let last = matches!(callback.status, CompensationStatus::Running | CompensationStatus::Completed);
    let tries = callback.failures + callback.crashes + u32::from(last);
    findings.demand(tries <= callback.attempt, id, || {
        format!("the compensation of {step} was tried {} times, and {tries} tries are recorded", callback.attempt)
    });
    findings.demand(evidence.crash_limit.is_none_or(|limit| callback.crashes as usize <= limit as usize), id, || {
        format!("the compensation of {step} ended with its worker {} times in a row", callback.crashes)
    });
}

/// Where times were observed: each attempt after the first has its reason and its delay.
fn check_tries(
    evidence: &Evidence,
    findings: &mut Findings,
    id: RunId,
    step: &StepName,
    tries: &[Try],
    retry: Option<&Retry>,
) {
    let of = |tried: &Try| {
        let effects = evidence.effects.iter().enumerate().rev();
        let mut own = effects.filter(|(_, effect)| effect.kind == EffectKind::Compensation);
        own.find(|(_, effect)| (effect.run_id, &effect.step, effect.attempt) == (id, step, tried.attempt))
    };
    let mut failures = 0;
    for pair in tries.windows(2) {
        let [before, after] = pair else { continue };
        let Some((ended, end)) = &before.ended else {
            findings.add(id, format!("the compensation of {step} was repeated while it was under way: {tries:?}"));
            continue;
        };
        let effect = of(before);
        let succeeded = effect.is_some_and(|(number, _)| evidence.succeeded.contains(&number));
        findings.demand(!succeeded || *end == End::Lost, id, || {
            format!("the compensation of {step} succeeded in attempt {}, and was repeated: {end:?}", before.attempt)
        });
        let delay = match (end, retry) {
            (End::Completed, _) => {
                findings.add(id, format!("the compensation of {step} was repeated after it succeeded: {tries:?}"));
                continue;
            }
            (End::Failed(kind), retry) => {
                failures += 1;
                let cut_off = [FailureKind::TIMEOUT, FailureKind::PANIC].contains(kind);
                let asked = effect.filter(|_| !cut_off).and_then(|(_, effect)| effect.retry_after);
                asked.or(retry.map(|retry| back_off::shortest(retry, failures))).unwrap_or_default()
            }
            (End::Interrupted | End::Lost, _) => Duration::ZERO,
        };
        findings.demand(after.began >= ended.after(delay), id, || {
            let waited = after.began.since(*ended);
            format!("the compensation of {step} was repeated after {waited:?}, which is less than {delay:?}")
        });
    }
}

/// Where no times were observed: the delays add up to no more than the time the callback took.
fn check_sum(
    evidence: &Evidence,
    findings: &mut Findings,
    id: RunId,
    step: &StepName,
    callback: &CompensationRun,
    retry: Option<&Retry>,
) {
    let asked = evidence.effects.iter().any(|effect| {
        effect.kind == EffectKind::Compensation
            && (effect.run_id, &effect.step) == (id, step)
            && effect.retry_after.is_some()
    });
    let (Some(retry), Some(finished), false) = (retry, callback.finished_at, asked) else { return };
    // After the last failure of a failed callback there is no delay.
    let waited = callback.failures.saturating_sub(u32::from(callback.status == CompensationStatus::Failed));
    let least: Duration = (1..=waited).map(|failures| back_off::shortest(retry, failures)).sum();
    findings.demand(finished.after(evidence.skew) >= callback.started_at.after(least), id, || {
        let took = finished.since(callback.started_at);
        format!(
            "the compensation of {step} failed {} times in {took:?}, which is less than {least:?}",
            callback.failures
        )
    });
}
