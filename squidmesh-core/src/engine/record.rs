//! Recording the outcome of an attempt: the attempt, the step run, the run, and what follows are one change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::advance::{complete_step, fail_step};
use super::context;
use super::continuation::{Continuation, begin_next};
use super::describe::DescribeJobs;
use super::dispatch::reschedule;
use super::lived::is_suspected;
use super::recordable::recordable;
use super::settle::{finish_step, settle_run};
use super::task::{Outcome, StepTask};
use super::unit_of_work::{Allowed, UnitOfWork};
use super::way::has_no_way_on;
use crate::event::EventKind;
use crate::name::StepName;
use crate::run::{AttemptStatus, Failure, FailureKind, InvalidTransition, RunSnapshot, RunStatus, StepStatus};

/// The result of recording an outcome.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RecordOutcome {
    /// The outcome is in the unit of work. With a task, the same worker continues with the successor at once.
    Recorded {
        /// The successor that was begun in the same change.
        next: Option<StepTask>,
    },
    /// The attempt is closed, or belongs to another claim: nothing is recorded.
    Superseded,
}

impl RecordOutcome {
    /// Returns the successor that was begun in the same change.
    pub fn next(&self) -> Option<&StepTask> {
        match self {
            RecordOutcome::Recorded { next } => next.as_ref(),
            RecordOutcome::Superseded => None,
        }
    }
}

/// Records the outcome of a task. With `continuation`, the successor is begun in the same change by the same worker, if
/// it is due at once and on one of the given queues.
///
/// # Errors
/// [`InvalidTransition`] if the stored state contradicts itself.
pub fn record(
    work: &mut UnitOfWork,
    task: &StepTask,
    outcome: Outcome,
    continuation: Option<Continuation<'_>>,
    jobs: &dyn DescribeJobs,
) -> Result<RecordOutcome, InvalidTransition> {
    if !task.is_open(work.state()) {
        return Ok(RecordOutcome::Superseded);
    }
    work.fence(&task.lease);
    work.remove_intent(task.lease.key.clone());
    match outcome {
        Outcome::Completed { value, schedule_in, route } => match acceptable_output(work, &task.step, value) {
            Ok((output, bytes)) => {
                work.count_output(bytes);
                complete_step(work, &task.step, output, (schedule_in, route.as_deref()), jobs)?;
            }
            Err(failure) => failed(work, task, *failure, None, jobs)?,
        },
        Outcome::Failed { failure, retryable, retry_after } => {
            let failure = Failure { retryable, ..recordable(failure, work.limits()) };
            let delay = retryable.then(|| next_delay(work, task, retry_after)).flatten();
            failed(work, task, failure, delay, jobs)?;
        }
        Outcome::Interrupted => interrupted(work, task, jobs)?,
    }
    let next = match continuation {
        Some(continuation) => begin_next(work, &continuation, jobs)?,
        None => None,
    };
    Ok(RecordOutcome::Recorded { next })
}

/// Finds what an earlier try to record a task's outcome has recorded: the answer to its commit was lost, and the
/// commit was applied only after the run had been read again. `tried` are the successors that the tries began.
///
/// Nobody else begins a successor under the token of a try ([`Continuation::token`]), and only the worker of an attempt
/// completes it.
pub(crate) fn find_recorded(state: &RunSnapshot, task: &StepTask, tried: &[StepTask]) -> Option<RecordOutcome> {
    if let Some(next) = tried.iter().find(|next| next.is_open(state)) {
        return Some(RecordOutcome::Recorded { next: Some(next.clone()) });
    }
    let run = state.steps.get(&task.step)?;
    let completed = run.status == StepStatus::Completed && run.attempt == task.attempt;
    completed.then_some(RecordOutcome::Recorded { next: None })
}

/// Closes the open attempt as failed; with `retry_in`, schedules the next one.
fn failed(
    work: &mut UnitOfWork,
    task: &StepTask,
    failure: Failure,
    retry_in: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Allowed {
    let step = &task.step;
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
    work.change_step(step, |run| {
        run.failures = run.failures.saturating_add(1);
        run.crashes = 0;
    });
    let is_final =
        !work.run().status.may_schedule() || (retry_in.is_none() && has_no_way_on(work, step, &failure.kind));
    work.emit(EventKind::StepFailed { step: step.clone(), attempt, duration, error: failure.clone(), is_final });
    if !work.run().status.may_schedule() {
        finish_step(work, step, StepStatus::Failed);
        return settle_run(work, jobs);
    }
    let Some(delay) = retry_in else { return fail_step(work, step, failure, jobs) };
    work.change_step(step, |run| run.status = StepStatus::Pending);
    reschedule(work, &task.lease, delay);
    work.emit(EventKind::StepRetryScheduled { step: step.clone(), attempt, delay });
    work.transition(RunStatus::Retrying)
}

/// Closes the open attempt without counting it. The step is delivered again at once, unless its run has ended
/// meanwhile.
fn interrupted(work: &mut UnitOfWork, task: &StepTask, jobs: &dyn DescribeJobs) -> Allowed {
    let failure = Failure::new(FailureKind::INTERRUPTED, "the worker was shut down").at(&task.step);
    // The interruption says nothing about the worker before it.
    let suspicion =
        work.state().steps.get(&task.step).filter(|run| is_suspected(run)).map(|run| run.last_error.clone());
    work.end_attempt(&task.step, AttemptStatus::Interrupted, Some(failure));
    if let Some(suspicion) = suspicion {
        work.change_step(&task.step, |run| run.last_error = suspicion);
    }
    if work.run().status.may_schedule() {
        work.change_step(&task.step, |run| run.status = StepStatus::Pending);
        reschedule(work, &task.lease, Duration::ZERO);
        return Ok(());
    }
    finish_step(work, &task.step, StepStatus::Cancelled);
    settle_run(work, jobs)
}

/// Returns the delay until the next attempt; `None` if there is none left.
fn next_delay(work: &UnitOfWork, task: &StepTask, retry_after: Option<Duration>) -> Option<Duration> {
    let failures = work.state().steps.get(&task.step)?.failures.saturating_add(1);
    let retry = work.definition().step(task.step.as_str()).map(|step| &step.retry)?;
    (failures < retry.max_attempts())
        .then(|| retry_after.unwrap_or_else(|| retry.delay(failures, work.inputs().random)))
}

/// An output under the key that the step declares, and its size in bytes.
type Measured<T> = (T, usize);

/// Returns the output and its size, if it is within the limits and fits into the run's context.
fn acceptable_output(
    work: &mut UnitOfWork,
    step: &StepName,
    value: Value,
) -> Result<Measured<Arc<Map<String, Value>>>, Box<Failure>> {
    let (output, bytes) = mapped_output(work, step, value)?;
    match context::overflow(work, step, &output, bytes) {
        None => Ok((Arc::new(output), bytes)),
        Some(with) => Err(Box::new(context::too_large(work, step, with))),
    }
}

/// Returns the output under the key that the step declares, and its size. Without a key it must be an object;
/// `null` counts as an empty one.
fn mapped_output(
    work: &UnitOfWork,
    step: &StepName,
    value: Value,
) -> Result<Measured<Map<String, Value>>, Box<Failure>> {
    let key = work.definition().step(step.as_str()).and_then(|found| found.output.clone());
    let invalid = |message: String| Box::new(Failure::new(FailureKind::INVALID_OUTPUT, message).at(step));
    let object = match (key, value) {
        (Some(key), value) => Map::from_iter([(key, value)]),
        (None, Value::Null) => Map::new(),
        (None, Value::Object(object)) => object,
        (None, _) => {
            let message = format!("the output of step {step} is not a JSON object: declare a key for it with `output`");
            return Err(invalid(message));
        }
    };
    let bytes = work.limits().json.measure_object(&object);
    let bytes = bytes.map_err(|why| invalid(format!("the output of step {step} was refused: {why}")))?;
    Ok((object, bytes))
}
