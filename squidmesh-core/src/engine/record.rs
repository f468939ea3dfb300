//! Recording how an attempt went: the attempt, the step run, the run, and what follows are one change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::advance::{advance, fail_step, owes_compensation};
use super::begin::{Begin, begin_claimed, put_off};
use super::cancel::settle_cancellation;
use super::dispatch::{DescribeJobs, owe_compensation};
use super::{Limits, UnitOfWork};
use crate::{
    AttemptStatus, EventKind, Failure, IntentKey, InvalidTransition, Lease, LeaseToken, QueueName, RunStatus, StepName,
    StepStatus, json,
};

/// A step to carry out under a claim.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepTask {
    /// The step.
    pub step: StepName,
    /// The number of the attempt that is open for it.
    pub attempt: u32,
    /// The claim.
    pub lease: Lease,
    /// The input snapshot.
    pub input: Arc<Map<String, Value>>,
    /// Payload and context.
    pub visible: Arc<Map<String, Value>>,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned.
    Completed {
        /// What it returned.
        value: Value,
        /// How long to put the successor off.
        schedule_in: Option<Duration>,
    },
    /// The handler failed.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether another attempt may help.
        retryable: bool,
        /// How long the handler wants to wait for it.
        retry_after: Option<Duration>,
    },
    /// The worker is shut down before the handler ended.
    Interrupted,
}

/// What became of an outcome.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Recorded {
    /// It is in the unit of work. With a task, the same worker goes on with the successor at once.
    Recorded {
        /// The successor that was begun in the same change.
        next: Option<StepTask>,
    },
    /// The attempt is closed, or belongs to another claim: there is nothing to record.
    Superseded,
}

/// Records the outcome of a task. With `go_on`, the successor is begun in the same change by the same worker, if it is due
/// at once and on one of these queues.
///
/// # Errors
/// [`InvalidTransition`] if the stored state contradicts itself.
pub fn record(
    work: &mut UnitOfWork,
    task: &StepTask,
    outcome: Outcome,
    go_on: Option<GoOn<'_>>,
    jobs: &dyn DescribeJobs,
) -> Result<Recorded, InvalidTransition> {
    let open = work.state().steps.get(&task.step).is_some_and(|run| {
        run.status == StepStatus::Running && run.attempt == task.attempt && run.lease == Some(task.lease.token)
    });
    if !open {
        return Ok(Recorded::Superseded);
    }
    work.fence(&task.lease);
    work.remove_intent(task.lease.key.clone());
    match outcome {
        Outcome::Completed { value, schedule_in } => match mapped_output(work, &task.step, value) {
            Ok(output) => complete_step(work, &task.step, output, schedule_in, jobs)?,
            Err(failure) => failed(work, task, *failure, None, jobs)?,
        },
        Outcome::Failed { failure, retryable, retry_after } => {
            let failure = Failure { retryable, ..recordable(failure, work.limits()) };
            let delay = retryable.then(|| next_delay(work, task, retry_after)).flatten();
            failed(work, task, failure, delay, jobs)?;
        }
        Outcome::Interrupted => interrupted(work, task, jobs)?,
    }
    let next = match go_on {
        Some(go_on) => begin_next(work, &go_on, jobs)?,
        None => None,
    };
    Ok(Recorded::Recorded { next })
}

/// What a worker needs to go on with the successor of its step.
#[derive(Clone, Copy, Debug)]
pub struct GoOn<'a> {
    /// The token of its claim.
    pub token: LeaseToken,
    /// How long the lease on the successor lasts.
    pub lease: Duration,
    /// The queues that it serves.
    pub queues: &'a [QueueName],
}

/// Begins the first successor that is due at once, under the worker's own claim: one commit a hop.
fn begin_next(
    work: &mut UnitOfWork,
    go_on: &GoOn<'_>,
    jobs: &dyn DescribeJobs,
) -> Result<Option<StepTask>, InvalidTransition> {
    let due = work.due_steps().find(|(_, intent)| go_on.queues.contains(&intent.queue)).map(|(step, _)| step.clone());
    let Some(step) = due.filter(|_| work.run().status.may_schedule()) else { return Ok(None) };
    let key = IntentKey::step(work.run().id, step.clone());
    if let Some(intent) = work.added_intent(&key) {
        intent.lease = Some(go_on.token);
        intent.delay = go_on.lease;
    }
    let lease = Lease { key, token: go_on.token };
    match begin_claimed(work, &step, &lease, jobs)? {
        Begin::Execute(task) => Ok(Some(task)),
        Begin::Advanced | Begin::Skip(_) => Ok(None),
    }
}

/// Closes the open attempt of a step as completed, and goes on as the run's status asks for.
pub(super) fn complete_step(
    work: &mut UnitOfWork,
    step: &StepName,
    output: Arc<Map<String, Value>>,
    schedule_in: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Completed, None);
    let sequence = work.next_sequence();
    let now = work.now();
    work.change_step(step, |run| {
        run.status = StepStatus::Completed;
        run.output = Some(output);
        run.sequence = Some(sequence);
        run.crashes = 0;
        run.finished_at = Some(now);
    });
    work.tell(EventKind::StepCompleted { step: step.clone(), attempt, duration });
    match work.run().status {
        RunStatus::Cancelling => settle_cancellation(work),
        RunStatus::Failed => {
            late_sibling(work, jobs);
            Ok(())
        }
        RunStatus::Completed | RunStatus::Cancelled => Ok(()),
        _ => advance(work, step, schedule_in, jobs),
    }
}

/// Closes the open attempt as failed; with a delay, schedules the next.
fn failed(
    work: &mut UnitOfWork,
    task: &StepTask,
    failure: Failure,
    retry_in: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    let step = &task.step;
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
    work.change_step(step, |run| {
        run.failures = run.failures.saturating_add(1);
        run.crashes = 0;
    });
    work.tell(EventKind::StepFailed { step: step.clone(), attempt, duration, error: failure.clone() });
    let now = work.now();
    let end = |work: &mut UnitOfWork, status| {
        work.change_step(step, |run| {
            run.status = status;
            run.finished_at = Some(now);
        });
    };
    match work.run().status {
        RunStatus::Cancelling => {
            end(work, StepStatus::Failed);
            settle_cancellation(work)
        }
        RunStatus::Failed => {
            end(work, StepStatus::Failed);
            late_sibling(work, jobs);
            Ok(())
        }
        RunStatus::Completed | RunStatus::Cancelled => {
            end(work, StepStatus::Failed);
            Ok(())
        }
        _ => match retry_in {
            None => fail_step(work, step, failure, jobs),
            Some(delay) => {
                work.change_step(step, |run| run.status = StepStatus::Pending);
                put_off(work, &task.lease, delay);
                work.tell(EventKind::StepRetryScheduled { step: step.clone(), attempt, delay });
                work.transition(RunStatus::Retrying)
            }
        },
    }
}

/// Closes the open attempt without counting it: the step is delivered again at once, unless its run has ended meanwhile.
fn interrupted(work: &mut UnitOfWork, task: &StepTask, jobs: &dyn DescribeJobs) -> Result<(), InvalidTransition> {
    let failure = Failure::new(Failure::INTERRUPTED, "the worker was shut down").at(&task.step);
    work.end_attempt(&task.step, AttemptStatus::Interrupted, Some(failure));
    if work.run().status.may_schedule() {
        work.change_step(&task.step, |run| run.status = StepStatus::Pending);
        put_off(work, &task.lease, Duration::ZERO);
        return Ok(());
    }
    let now = work.now();
    work.change_step(&task.step, |run| {
        run.status = StepStatus::Cancelled;
        run.finished_at = Some(now);
    });
    match work.run().status {
        RunStatus::Cancelling => settle_cancellation(work),
        RunStatus::Failed => {
            late_sibling(work, jobs);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A step that ended after its run failed: what it leaves is compensated too.
fn late_sibling(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) {
    if work.state().in_status(StepStatus::Running).next().is_none() && owes_compensation(work) {
        owe_compensation(work, jobs);
    }
}

/// How long until the next attempt; `None` if there is none left.
fn next_delay(work: &UnitOfWork, task: &StepTask, retry_after: Option<Duration>) -> Option<Duration> {
    let failures = work.state().steps.get(&task.step)?.failures.saturating_add(1);
    let retry = work.definition().step(task.step.as_str()).map(|step| &step.retry)?;
    (failures < retry.max_attempts())
        .then(|| retry_after.unwrap_or_else(|| retry.delay(failures, work.moment().random)))
}

/// The output under the key that the step declares. Without a key it must be an object; nothing at all is an empty one.
fn mapped_output(work: &UnitOfWork, step: &StepName, value: Value) -> Result<Arc<Map<String, Value>>, Box<Failure>> {
    let key = work.definition().step(step.as_str()).and_then(|found| found.output.clone());
    let invalid = |message: String| Box::new(Failure::new(Failure::INVALID_OUTPUT, message).at(step));
    let object = match (key, value) {
        (Some(key), value) => Value::Object(Map::from_iter([(key, value)])),
        (None, Value::Null) => Value::Object(Map::new()),
        (None, value @ Value::Object(_)) => value,
        (None, _) => {
            let message = format!("the output of step {step} is not a JSON object: declare a key for it with `output`");
            return Err(invalid(message));
        }
    };
    work.limits()
        .json
        .check(&object)
        .map_err(|why| invalid(format!("the output of step {step} was refused: {why}")))?;
    match object {
        Value::Object(map) => Ok(Arc::new(map)),
        _ => Ok(Arc::default()),
    }
}

/// How many causes of a failure are kept, and how long its kind may be, in bytes.
const CAUSES: usize = 32;
const KIND: usize = 100;

/// The same failure, brought within the limits as a whole: recording a failure never fails.
pub(super) fn recordable(mut failure: Failure, limits: &Limits) -> Failure {
    let share = limits.json.max_bytes / 4;
    let clean = |text: String, bound| json::truncate_text(text.replace('\0', "\u{fffd}"), bound);
    failure.kind = clean(failure.kind, KIND);
    failure.message = clean(failure.message, share);
    failure.chain = failure.chain.into_iter().take(CAUSES).map(|cause| clean(cause, share / CAUSES)).collect();
    if failure.details.as_ref().is_some_and(|details| limits.json.check(details).is_err()) {
        failure.details = Some(Value::from("the details were beyond the limits and were left out"));
    }
    failure
}
