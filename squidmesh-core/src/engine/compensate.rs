//! Compensating a failed run: the callbacks of its completed steps, in the reverse of the order in which they completed.
//!
//! One callback at a time, under the claim on the run's compensation intent. Nothing is compensated while a sibling still
//! runs: what it leaves behind would come out of order.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::UnitOfWork;
use super::begin::put_off;
use super::record::recordable;
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
    /// The delivery was a no-op.
    Skip(SkipReason),
}

/// Whether a step has a compensation that is still to be carried out.
pub(super) fn is_owed(step: &StepRun) -> bool {
    let ended = step.compensation.as_ref().is_some_and(|run| run.status != CompensationStatus::Running);
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
        let now = work.now();
        let before = work.state().steps.get(&step).and_then(|run| run.compensation.clone());
        let attempt = before.as_ref().map_or(0, |run| run.attempt);
        if attempt >= work.limits().crashes {
            let message = format!("the compensation of step {step} ended with its worker {attempt} times");
            end_callback(work, &step, Err(Failure::new(Failure::POISON_STEP, message).at(&step)));
            continue;
        }
        let started_at = before.map_or(now, |run| run.started_at);
        work.change_step(&step, |run| {
            run.compensation = Some(CompensationRun {
                status: CompensationStatus::Running,
                output: None,
                error: None,
                attempt: attempt + 1,
                lease: Some(lease.token),
                started_at,
                finished_at: None,
            });
        });
        work.tell(EventKind::CompensationStarted { step: step.clone() });
        return BeginCompensation::Execute(Box::new(task(work, step, attempt + 1, lease)));
    }
    work.remove_intent(lease.key.clone());
    list_failures(work);
    BeginCompensation::Done
}

/// Records how a callback went. `false`: it belongs to another claim, and there is nothing to record.
///
/// # Errors
/// None today: a failing callback never stops the rest.
pub fn record_compensation(
    work: &mut UnitOfWork,
    task: &CompensationTask,
    result: Result<Value, Failure>,
) -> Result<bool, InvalidTransition> {
    let open = work.state().steps.get(&task.step).and_then(|run| run.compensation.as_ref()).is_some_and(|run| {
        run.status == CompensationStatus::Running && run.attempt == task.attempt && run.lease == Some(task.lease.token)
    });
    if !open {
        return Ok(false);
    }
    work.fence(&task.lease);
    let limits = *work.limits();
    let result = match result {
        Ok(value) => limits.json.check(&value).map(|()| value).map_err(|why| {
            Failure::new(Failure::INVALID_OUTPUT, format!("the output of the compensation was refused: {why}"))
        }),
        Err(failure) => Err(recordable(failure, &limits)),
    };
    end_callback(work, &task.step, result.map_err(|failure| failure.at(&task.step)));
    Ok(true)
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
    work.change_step(step, |run| {
        if let Some(compensation) = &mut run.compensation {
            compensation.lease = None;
            compensation.finished_at = Some(now);
            match result {
                Ok(value) => {
                    compensation.status = CompensationStatus::Completed;
                    compensation.output = Some(value);
                }
                Err(failure) => {
                    compensation.status = CompensationStatus::Failed;
                    compensation.error = Some(failure);
                }
            }
        }
    });
    work.tell(event);
}

/// Lists the failed callbacks in the run's last error, beside why it failed.
fn list_failures(work: &mut UnitOfWork) {
    let failed = work.state().steps.values().filter_map(|step| step.compensation.as_ref()?.error.as_ref());
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
