//! Compensating a failed run: the callbacks of its completed steps, in the reverse of the order in which they completed.
//!
//! One callback at a time, under the claim on the run's compensation intent. Nothing is compensated while a sibling still
//! runs: what it leaves behind would come out of order. For the same reason a callback that is to be repeated puts the whole
//! compensation off: the next one does not overtake it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::UnitOfWork;
use super::begin::put_off;
use super::record::{Outcome, recordable};
use crate::{
    CompensationRun, CompensationStatus, EventKind, Failure, InvalidTransition, Lease, RunStatus, SkipReason, StepName,
    StepRun, StepStatus,
};

/// How long the compensation of a run is put off while siblings of the failed step run. The last of them to end makes it due.
const SIBLINGS: Duration = Duration::from_secs(30);

/// A callback to carry out under a claim.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CompensationTask {
    /// The step that is compensated.
    pub step: StepName,
    /// How many times the callback has begun.
    pub attempt: u32,
    /// The claim.
    pub lease: Lease,
    /// The payload of the run.
    pub payload: Arc<Map<String, Value>>,
    /// The context of the run.
    pub context: Arc<Map<String, Value>>,
    /// The input of the step.
    pub input: Arc<Map<String, Value>>,
    /// The output of the step, under its key.
    pub output: Arc<Map<String, Value>>,
    /// Why the run failed.
    pub failure: Option<Failure>,
}

/// What came of beginning. The unit of work is to be committed in every case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BeginCompensation {
    /// Carry out this callback, once the change is committed.
    Execute(Box<CompensationTask>),
    /// All is compensated.
    Done,
    /// The callback failed and is repeated later; the others wait for it.
    Later,
    /// The delivery was a no-op.
    Skip(SkipReason),
}

/// What became of the result of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordedCompensation {
    /// The callback has ended: the next one may begin.
    Ended,
    /// The compensation is put off until the callback may be repeated.
    PutOff,
    /// It belongs to another claim, and there is nothing to record.
    Superseded,
}

/// Whether a step has a compensation that is still to be carried out.
pub(super) fn is_owed(step: &StepRun) -> bool {
    let ended = step
        .compensation
        .as_ref()
        .is_some_and(|run| matches!(run.status, CompensationStatus::Completed | CompensationStatus::Failed));
    step.status == StepStatus::Completed && step.recovery.compensated_by_handler && !ended
}

/// Begins the next callback under a claim on the run's compensation.
pub fn begin_compensation(work: &mut UnitOfWork, lease: &Lease) -> BeginCompensation {
    work.fence(lease);
    if work.run().status != RunStatus::Failed {
        work.remove_intent(lease.key.clone());
        return BeginCompensation::Skip(SkipReason::RunEnded);
    }
    if work.state().in_status(StepStatus::Running).next().is_some() {
        put_off(work, lease, SIBLINGS);
        return BeginCompensation::Skip(SkipReason::SiblingsRunning);
    }
    while let Some(step) = next_owed(work) {
        let before = work.state().steps.get(&step).and_then(|run| run.compensation.clone());
        let mut callback = before.unwrap_or_else(|| CompensationRun::pending(work.now()));
        if callback.status == CompensationStatus::Running {
            if callback.lease == Some(lease.token) && callback.attempt > 0 {
                // It was begun under this very claim, but the answer was lost.
                return BeginCompensation::Execute(Box::new(task(work, step, callback.attempt, lease)));
            }
            callback.crashes = callback.crashes.saturating_add(1);
        }
        if callback.crashes >= work.limits().crashes {
            let message = format!("the compensation of step {step} ended with its worker {} times", callback.crashes);
            work.change_step(&step, |run| run.compensation = Some(callback));
            end_callback(work, &step, Err(Failure::new(Failure::POISON_STEP, message).at(&step)));
            continue;
        }
        callback.status = CompensationStatus::Running;
        callback.attempt = callback.attempt.saturating_add(1);
        callback.lease = Some(lease.token);
        let attempt = callback.attempt;
        work.change_step(&step, |run| run.compensation = Some(callback));
        work.tell(EventKind::CompensationStarted { step: step.clone() });
        return BeginCompensation::Execute(Box::new(task(work, step, attempt, lease)));
    }
    work.remove_intent(lease.key.clone());
    list_failures(work);
    BeginCompensation::Done
}

/// Records how a callback went. A retryable failure with attempts left puts the compensation off.
///
/// # Errors
/// None today: a failing callback never stops the rest.
pub fn record_compensation(
    work: &mut UnitOfWork,
    task: &CompensationTask,
    outcome: Outcome,
) -> Result<RecordedCompensation, InvalidTransition> {
    let callback = work.state().steps.get(&task.step).and_then(|run| run.compensation.as_ref());
    let open = callback.filter(|run| {
        run.status == CompensationStatus::Running && run.attempt == task.attempt && run.lease == Some(task.lease.token)
    });
    let Some(failures) = open.map(|run| run.failures) else { return Ok(RecordedCompensation::Superseded) };
    work.fence(&task.lease);
    let limits = *work.limits();
    match outcome {
        Outcome::Completed { value, .. } => {
            let result = limits.json.check(&value).map(|()| value).map_err(|why| {
                let message = format!("the output of the compensation was refused: {why}");
                Failure::new(Failure::INVALID_OUTPUT, message).at(&task.step)
            });
            end_callback(work, &task.step, result);
            Ok(RecordedCompensation::Ended)
        }
        Outcome::Failed { failure, retryable, retry_after } => {
            let failure = Failure { retryable, ..recordable(failure, &limits) }.at(&task.step);
            let failures = failures.saturating_add(1);
            let retry = work.definition().step(task.step.as_str()).and_then(|step| step.compensation_retry.as_ref());
            let delay = retry
                .filter(|retry| retryable && failures < retry.max_attempts())
                .map(|retry| retry_after.unwrap_or_else(|| retry.delay(failures, work.moment().random)));
            change_callback(work, &task.step, |run| {
                run.failures = failures;
                run.crashes = 0;
            });
            let Some(delay) = delay else {
                end_callback(work, &task.step, Err(failure));
                return Ok(RecordedCompensation::Ended);
            };
            put_callback_off(work, task, delay, Some(failure.clone()));
            let (step, attempt) = (task.step.clone(), task.attempt);
            work.tell(EventKind::CompensationRetryScheduled { step, attempt, delay, error: failure });
            Ok(RecordedCompensation::PutOff)
        }
        Outcome::Interrupted => {
            put_callback_off(work, task, Duration::ZERO, None);
            Ok(RecordedCompensation::PutOff)
        }
    }
}

/// Leaves a callback to a later claim, which begins with it.
fn put_callback_off(work: &mut UnitOfWork, task: &CompensationTask, delay: Duration, error: Option<Failure>) {
    change_callback(work, &task.step, |run| {
        run.status = CompensationStatus::Pending;
        run.lease = None;
        run.error = error.or(run.error.take());
    });
    put_off(work, &task.lease, delay);
}

fn change_callback(work: &mut UnitOfWork, step: &StepName, change: impl FnOnce(&mut CompensationRun)) {
    work.change_step(step, |run| run.compensation.as_mut().map_or((), change));
}

fn next_owed(work: &UnitOfWork) -> Option<StepName> {
    let owed = work.state().steps.values().filter(|step| is_owed(step));
    owed.max_by_key(|step| step.sequence).map(|step| step.step.clone())
}

fn task(work: &UnitOfWork, step: StepName, attempt: u32, lease: &Lease) -> CompensationTask {
    let run = work.state().steps.get(&step);
    CompensationTask {
        attempt,
        lease: lease.clone(),
        payload: work.run().payload.clone(),
        context: Arc::new(work.state().context(work.definition())),
        input: run.map(|run| run.input.clone()).unwrap_or_default(),
        output: run.and_then(|run| run.output.clone()).unwrap_or_default(),
        failure: work.run().last_error.clone(),
        step,
    }
}

fn end_callback(work: &mut UnitOfWork, step: &StepName, result: Result<Value, Failure>) {
    let now = work.now();
    let event = match &result {
        Ok(_) => EventKind::CompensationCompleted { step: step.clone() },
        Err(error) => EventKind::CompensationFailed { step: step.clone(), error: error.clone() },
    };
    change_callback(work, step, |run| {
        run.lease = None;
        run.finished_at = Some(now);
        (run.status, run.output, run.error) = match result {
            Ok(value) => (CompensationStatus::Completed, Some(value), None),
            Err(failure) => (CompensationStatus::Failed, None, Some(failure)),
        };
    });
    work.tell(event);
}

/// Lists the failed callbacks in the run's last error, beside why it failed.
fn list_failures(work: &mut UnitOfWork) {
    let failed = work.state().steps.values().filter_map(|step| match step.compensation.as_ref()? {
        CompensationRun { status: CompensationStatus::Failed, error, .. } => error.as_ref(),
        _ => None,
    });
    let listed: Vec<Value> = failed
        .map(|failure| json!({ "step": failure.step, "kind": failure.kind, "message": failure.message }))
        .collect();
    if listed.is_empty() {
        return;
    }
    let message = "compensations failed after the run did";
    let error = work.run_mut().last_error.get_or_insert_with(|| Failure::new(Failure::COMPENSATION_FAILED, message));
    let mut details = match error.details.take() {
        Some(Value::Object(map)) => map,
        Some(other) => Map::from_iter([("details".to_owned(), other)]),
        None => Map::new(),
    };
    details.insert("compensation_failures".to_owned(), Value::Array(listed));
    error.details = Some(Value::Object(details));
}
