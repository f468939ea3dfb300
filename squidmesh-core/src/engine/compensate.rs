//! Compensating a failed run: the callbacks of its completed steps, in the reverse of the order in which they
//! completed.
//!
//! One callback runs at a time, under the claim on the run's compensation intent. Nothing is compensated while a
//! sibling still runs, because its compensation would be out of order. For the same reason a callback that is
//! retried delays the whole compensation: the next one does not overtake it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::UnitOfWork;
use super::dispatch::reschedule;
use super::recordable::{recordable, with_compensation_failures};
use super::settle::is_owed;
use super::task::Outcome;
use crate::dispatch::Lease;
use crate::event::{EventKind, IgnoreReason};
use crate::name::StepName;
use crate::run::{CompensationRun, CompensationStatus, Failure, FailureKind, InvalidTransition, RunStatus, StepStatus};

/// The delay of a run's compensation while siblings of the failed step run. The last of them to end makes it due.
const SIBLINGS_DELAY: Duration = Duration::from_secs(30);

/// A compensation callback to execute under a claim.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CompensationTask {
    /// The step to compensate.
    pub step: StepName,
    /// The number of the callback's attempt.
    pub attempt: u32,
    /// The claim on the compensation.
    pub lease: Lease,
    /// The payload of the run.
    pub payload: Arc<Map<String, Value>>,
    /// The context of the run.
    pub context: Arc<Map<String, Value>>,
    /// The input of the step.
    pub input: Arc<Map<String, Value>>,
    /// The output of the step, under its key.
    pub output: Arc<Map<String, Value>>,
    /// The failure of the run.
    pub failure: Option<Failure>,
}

/// The result of beginning a compensation. The unit of work must be committed in every case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BeginCompensation {
    /// Execute this callback once the change is committed.
    Execute(Box<CompensationTask>),
    /// Every step is compensated.
    Done,
    /// The remaining callbacks wait for another claim; a failed callback that is retried comes first.
    Later,
    /// The delivery was a no-op.
    Skip(IgnoreReason),
}

/// The result of recording a callback's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordedCompensation {
    /// The callback has ended; the next one may begin.
    Ended,
    /// The compensation is delayed until the callback may be retried.
    Rescheduled,
    /// The callback belongs to another claim, and nothing is recorded.
    Superseded,
}

/// Begins the next callback under a claim on the run's compensation.
pub fn begin_compensation(work: &mut UnitOfWork, lease: &Lease) -> BeginCompensation {
    work.fence(lease);
    if work.run().status != RunStatus::Failed {
        work.remove_intent(lease.key.clone());
        return BeginCompensation::Skip(IgnoreReason::RunEnded);
    }
    if work.state().in_status(StepStatus::Running).next().is_some() {
        reschedule(work, lease, SIBLINGS_DELAY);
        return BeginCompensation::Skip(IgnoreReason::SiblingsRunning);
    }
    while let Some(step) = next_owed(work) {
        // The end of the last sibling, decided in the same unit of work, makes the compensation due for any claimer. It is
        // claimed already.
        work.keep_intent(&lease.key);
        let before = work.state().steps.get(&step).and_then(|run| run.compensation.clone());
        let mut callback = before.unwrap_or_else(|| CompensationRun::pending(work.now()));
        if callback.status == CompensationStatus::Running {
            if callback.lease == Some(lease.token) && callback.attempt > 0 {
                // The begin was committed under this claim, but its answer was lost.
                return BeginCompensation::Execute(Box::new(task(work, step, callback.attempt, lease)));
            }
            callback.crashes = callback.crashes.saturating_add(1);
        }
        if callback.crashes >= work.limits().crashes {
            let message = format!("the compensation of step {step} ended with its worker {} times", callback.crashes);
            work.change_step(&step, |run| run.compensation = Some(callback));
            end_callback(work, &step, Err(Failure::new(FailureKind::POISON_STEP, message).at(&step)));
            continue;
        }
        callback.status = CompensationStatus::Running;
        callback.attempt = callback.attempt.saturating_add(1);
        callback.lease = Some(lease.token);
        callback.attempt_started_at = Some(work.now());
        let attempt = callback.attempt;
        work.change_step(&step, |run| run.compensation = Some(callback));
        work.emit(EventKind::CompensationStarted { step: step.clone(), attempt });
        return BeginCompensation::Execute(Box::new(task(work, step, attempt, lease)));
    }
    work.remove_intent(lease.key.clone());
    list_failures(work);
    BeginCompensation::Done
}

/// Leaves the remaining callbacks to the next claim on the run's compensation; ends the compensation if there are
/// none.
pub fn leave_compensation(work: &mut UnitOfWork, lease: &Lease) -> BeginCompensation {
    if next_owed(work).is_none() {
        return begin_compensation(work, lease);
    }
    work.fence(lease);
    reschedule(work, lease, Duration::ZERO);
    BeginCompensation::Later
}

/// Records the outcome of a callback. A retryable failure with attempts left delays the compensation.
///
/// # Errors
/// None today: a failed callback never stops the others.
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
                Failure::new(FailureKind::INVALID_OUTPUT, message).at(&task.step)
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
                .map(|retry| retry_after.unwrap_or_else(|| retry.delay(failures, work.inputs().random)));
            change_callback(work, &task.step, |run| {
                run.failures = failures;
                run.crashes = 0;
            });
            let Some(delay) = delay else {
                end_callback(work, &task.step, Err(failure));
                return Ok(RecordedCompensation::Ended);
            };
            let (attempt, duration) = tried(work, &task.step);
            reschedule_callback(work, task, delay, Some(failure.clone()));
            let step = task.step.clone();
            work.emit(EventKind::CompensationRetryScheduled { step, attempt, duration, delay, error: failure });
            Ok(RecordedCompensation::Rescheduled)
        }
        Outcome::Interrupted => {
            reschedule_callback(work, task, Duration::ZERO, None);
            Ok(RecordedCompensation::Rescheduled)
        }
    }
}

/// Leaves a callback to a later claim, which begins with it.
fn reschedule_callback(work: &mut UnitOfWork, task: &CompensationTask, delay: Duration, error: Option<Failure>) {
    change_callback(work, &task.step, |run| {
        run.status = CompensationStatus::Pending;
        run.lease = None;
        run.error = error.or(run.error.take());
    });
    reschedule(work, &task.lease, delay);
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
        input: run.map(|run| work.state().input_of(run, work.definition())).unwrap_or_default(),
        output: run.and_then(|run| run.output.clone()).unwrap_or_default(),
        failure: work.run().last_error.clone(),
        step,
    }
}

/// Returns the number of the callback's last attempt, and how long it has taken.
fn tried(work: &UnitOfWork, step: &StepName) -> (u32, Duration) {
    let callback = work.state().steps.get(step).and_then(|run| run.compensation.as_ref());
    callback.map_or((0, Duration::ZERO), |run| {
        (run.attempt, work.now().since(run.attempt_started_at.unwrap_or(run.started_at)))
    })
}

fn end_callback(work: &mut UnitOfWork, step: &StepName, result: Result<Value, Failure>) {
    let now = work.now();
    let ((attempt, duration), step_name) = (tried(work, step), step.clone());
    let event = match &result {
        Ok(_) => EventKind::CompensationCompleted { step: step_name, attempt, duration },
        Err(error) => EventKind::CompensationFailed { step: step_name, attempt, duration, error: error.clone() },
    };
    change_callback(work, step, |run| {
        run.lease = None;
        run.finished_at = Some(now);
        (run.status, run.output, run.error) = match result {
            Ok(value) => (CompensationStatus::Completed, Some(value), None),
            Err(failure) => (CompensationStatus::Failed, None, Some(failure)),
        };
    });
    work.emit(event);
}

/// Adds the failed callbacks to the run's last error.
fn list_failures(work: &mut UnitOfWork) {
    let callbacks = work.state().steps.values().filter_map(|step| step.compensation.as_ref());
    let failed = callbacks.filter(|callback| callback.status == CompensationStatus::Failed);
    let failed: Vec<Failure> = failed.filter_map(|callback| callback.error.clone()).collect();
    if failed.is_empty() {
        return;
    }
    let message = "compensations failed after the run did";
    let first =
        work.run().last_error.clone().unwrap_or_else(|| Failure::new(FailureKind::COMPENSATION_FAILED, message));
    let whole = with_compensation_failures(first, &failed, work.limits());
    work.run_mut().last_error = Some(whole);
}
