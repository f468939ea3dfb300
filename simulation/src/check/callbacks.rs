//! A compensation callback is carried out once: again only after it failed, was interrupted or lost its lease, and then not before
//! its time and no more often than its policy allows.

use std::time::Duration;

use squidmesh_core::{
    CompensationRun, CompensationStatus, DispatchTarget, Failure, IntentWrite, Retry, RunId, StepName, StepRun,
    StepWrite, Timestamp,
};

use super::{Change, EffectKind, Evidence, Findings, back_off};

/// One try of a callback, by one clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// Its number.
    pub attempt: u32,
    /// When it began.
    pub began: Timestamp,
    /// When and how it ended, if it has.
    pub ended: Option<(Timestamp, End)>,
}

/// How a try of a callback ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded.
    Completed,
    /// It failed, in this way.
    Failed(String),
    /// Its worker was shut down.
    Interrupted,
    /// Somebody else took it over.
    Lost,
}

/// How a change of a callback's record ends the try that was under way, if it does.
pub(crate) fn end(old: &CompensationRun, new: &CompensationRun) -> Option<End> {
    if old.status != CompensationStatus::Running {
        return None;
    }
    let kind = || new.error.as_ref().map(|error| error.kind.clone()).unwrap_or_default();
    match new.status {
        CompensationStatus::Running => (new.attempt > old.attempt).then_some(End::Lost),
        CompensationStatus::Completed => Some(End::Completed),
        CompensationStatus::Failed if kind() == Failure::POISON_STEP => Some(End::Lost),
        CompensationStatus::Failed => Some(End::Failed(kind())),
        CompensationStatus::Pending if new.failures > old.failures => Some(End::Failed(kind())),
        _ => Some(End::Interrupted),
    }
}

/// The callbacks that a commit writes: of which step, as they were and as they are.
pub(super) fn written<'a>(
    change: &Change<'a>,
) -> impl Iterator<Item = (&'a StepRun, Option<&'a CompensationRun>, &'a CompensationRun)> {
    let before = change.before;
    change.commit.steps.iter().filter_map(move |write| {
        let (StepWrite::Create(step) | StepWrite::Update(step)) = write;
        let old = before.and_then(|before| before.steps.get(&step.step)?.compensation.as_ref());
        Some((step, old, step.compensation.as_ref()?))
    })
}

/// What a single change may make of a callback.
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
            // An output that was refused is no failure that another try could mend.
            Some(End::Failed(kind)) if kind == Failure::INVALID_OUTPUT => (failures, crashes),
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

/// Every failure, every loss and the end had a try of its own.
fn check_counts(evidence: &Evidence, findings: &mut Findings, id: RunId, step: &StepName, callback: &CompensationRun) {
    let last = matches!(callback.status, CompensationStatus::Running | CompensationStatus::Completed);
    let tries = callback.failures + callback.crashes + u32::from(last);
    findings.demand(tries <= callback.attempt, id, || {
        format!("the compensation of {step} was tried {} times, and {tries} tries are told of", callback.attempt)
    });
    findings.demand(evidence.crash_limit.is_none_or(|limit| callback.crashes as usize <= limit as usize), id, || {
        format!("the compensation of {step} ended with its worker {} times in a row", callback.crashes)
    });
}

/// Where somebody watched: each try after the first has its reason and its time.
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
                let cut_off = [Failure::TIMEOUT, Failure::PANIC].contains(&kind.as_str());
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

/// Where nobody did: all the delays together are no longer than it took.
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
    // After the last failure of one that failed nothing was waited for.
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
