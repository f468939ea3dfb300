//! Beginning a delivered step: the claim becomes an open attempt, or the delivery turns out to have nothing to do.

use std::sync::Arc;
use std::time::Duration;

use super::advance::{advance, complete_step, fail_step};
use super::describe::DescribeJobs;
use super::dispatch::{reschedule, schedule_pending};
use super::failure_path::failure_of_path;
use super::lived::is_suspected;
use super::manual::expire;
use super::pause::pause;
use super::settle::{finish_step, settle_run};
use super::signal::expire_wait;
use super::task::StepTask;
use super::unit_of_work::{Allowed, UnitOfWork};
use super::way::has_no_way_on;
use crate::definition::{Shape, StepDefinition, StepKind};
use crate::dispatch::Lease;
use crate::event::{EventKind, IgnoreReason};
use crate::name::StepName;
use crate::run::{AttemptStatus, Failure, FailureKind, InvalidTransition, RunStatus, StepStatus};

/// The result of beginning a step. The unit of work must be committed in every case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// Execute this task once the change is committed.
    Execute(StepTask),
    /// There was nothing to execute, and the run advanced.
    Advanced,
    /// There was nothing to execute: the intent may be removed, and the run may advance or end.
    Skip(IgnoreReason),
}

/// The delay of a delivery that this version of the workflow cannot execute.
const UNKNOWN_STEP_DELAY: Duration = Duration::from_secs(10);

/// Begins a step under a claim on its intent.
///
/// # Errors
/// [`InvalidTransition`] if the stored state contradicts itself.
pub fn begin(
    work: &mut UnitOfWork,
    step: &StepName,
    lease: &Lease,
    jobs: &dyn DescribeJobs,
) -> Result<Begin, InvalidTransition> {
    work.fence(lease);
    begin_claimed(work, step, lease, jobs)
}

/// Begins a step under a claim that is made in this unit of work.
pub(super) fn begin_claimed(
    work: &mut UnitOfWork,
    step: &StepName,
    lease: &Lease,
    jobs: &dyn DescribeJobs,
) -> Allowed<Begin> {
    let status = work.state().steps.get(step).map(|run| run.status);
    match work.run().status {
        RunStatus::Pending | RunStatus::Running | RunStatus::Retrying => {}
        RunStatus::Paused => {
            // The only intent of a paused run is the deadline of its approval, and it is due.
            return Ok(match expire(work, step, jobs)? {
                true => Begin::Advanced,
                false => skip(work, lease, IgnoreReason::RunPaused),
            });
        }
        ended => {
            let (end, reason) = match ended {
                RunStatus::Cancelling => (StepStatus::Cancelled, IgnoreReason::RunCancelled),
                _ => (StepStatus::Failed, IgnoreReason::RunEnded),
            };
            if status == Some(StepStatus::Running) {
                reclaim(work, step);
                finish_step(work, step, end);
            }
            if status == Some(StepStatus::Running) || ended == RunStatus::Cancelling {
                settle_run(work, jobs)?;
            }
            return Ok(skip(work, lease, reason));
        }
    }
    let Some(definition) = work.step_definition(step) else {
        reschedule(work, lease, UNKNOWN_STEP_DELAY);
        return Ok(Begin::Skip(IgnoreReason::UnknownStep));
    };
    if work.definition().shape() == Shape::Transitions && work.run().current_step.as_ref() != Some(step) {
        return Ok(skip(work, lease, IgnoreReason::NotCurrent));
    }
    match status {
        Some(StepStatus::Pending) => {
            if let Some(failure) = poisoned(work, step) {
                work.remove_intent(lease.key.clone());
                // The error transition may complete the run, and a retrying run cannot complete.
                work.transition(RunStatus::Running)?;
                fail_step(work, step, failure, jobs)?;
                return Ok(Begin::Advanced);
            }
        }
        None => schedule_pending(work, step),
        Some(StepStatus::Running) => {
            if let Some(task) = open_task(work, &definition, lease) {
                return Ok(Begin::Execute(task));
            }
            match take_over(work, &definition) {
                TakenOver::Next => {}
                TakenOver::Wait => {
                    await_late_outcome(work, step, lease)?;
                    return Ok(Begin::Advanced);
                }
                TakenOver::Fail(failure) => {
                    work.remove_intent(lease.key.clone());
                    fail_step(work, step, *failure, jobs)?;
                    return Ok(Begin::Advanced);
                }
            }
        }
        Some(StepStatus::Completed) => {
            work.remove_intent(lease.key.clone());
            advance(work, step, (None, None), jobs)?;
            return Ok(Begin::Skip(IgnoreReason::AlreadyCompleted));
        }
        // The only intent of a step that waits for a signal is its deadline, and it is due.
        Some(StepStatus::Paused) if expire_wait(work, step, jobs)? => return Ok(Begin::Advanced),
        Some(StepStatus::Paused | StepStatus::Failed | StepStatus::Cancelled) => {
            return Ok(skip(work, lease, IgnoreReason::NotCurrent));
        }
    }
    work.transition(RunStatus::Running)?;
    start(work, &definition, lease, jobs)
}

/// Opens the attempt and acts on the kind of the step.
fn start(work: &mut UnitOfWork, definition: &StepDefinition, lease: &Lease, jobs: &dyn DescribeJobs) -> Allowed<Begin> {
    let step = &definition.name;
    let attempt = work.start_attempt(step, Some(lease.token));
    work.emit(EventKind::StepStarted { step: step.clone(), attempt });
    match &definition.kind {
        StepKind::Handler | StepKind::Log { .. } => Ok(Begin::Execute(task(work, definition, attempt, lease))),
        StepKind::Wait { .. } => {
            work.remove_intent(lease.key.clone());
            complete_step(work, step, Arc::default(), (None, None), jobs)?;
            Ok(Begin::Advanced)
        }
        StepKind::Pause | StepKind::Approval | StepKind::WaitFor { .. } => {
            work.remove_intent(lease.key.clone());
            pause(work, definition, lease, jobs)?;
            Ok(Begin::Advanced)
        }
    }
}

/// Returns the task that is already open under this claim: its begin was committed, but the answer was lost. A
/// step that is stored as running without an attempt has none.
fn open_task(work: &UnitOfWork, definition: &StepDefinition, lease: &Lease) -> Option<StepTask> {
    let run = work.state().steps.get(&definition.name)?;
    (run.lease == Some(lease.token) && run.attempt > 0).then(|| task(work, definition, run.attempt, lease))
}

fn task(work: &UnitOfWork, definition: &StepDefinition, attempt: u32, lease: &Lease) -> StepTask {
    let (state, version) = (work.state(), work.definition());
    let visible = Arc::new(state.visible_to(definition.name.as_str(), version));
    let run = state.steps.get(&definition.name);
    StepTask {
        step: definition.name.clone(),
        attempt,
        lease: lease.clone(),
        input: run.map(|run| state.input_among(&visible, run, version)).unwrap_or_default(),
        visible,
        failure: failure_of_path(state, version),
    }
}

/// Closes the attempt of a worker that lost its lease. It counts as a failure, and the worker is suspected to
/// have crashed. An earlier suspicion that nothing has contradicted since becomes a crash.
fn reclaim(work: &mut UnitOfWork, step: &StepName) -> Failure {
    confirm_suspicion(work, step);
    let failure =
        Failure::new(FailureKind::STALE_RUNNING_STEP, "the worker of this attempt died or lost its lease").at(step);
    let failure = Failure { retryable: true, ..failure };
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
    work.change_step(step, |run| run.failures = run.failures.saturating_add(1));
    let failures = work.state().steps.get(step).map_or(0, |run| run.failures);
    let attempts = work.definition().step(step.as_str()).map_or(0, |declared| declared.retry.max_attempts());
    let is_final =
        !work.run().status.may_schedule() || (failures >= attempts && has_no_way_on(work, step, &failure.kind));
    work.emit(EventKind::StepFailed { step: step.clone(), attempt, duration, error: failure.clone(), is_final });
    failure
}

/// The consequence of closing the attempt of a worker that lost its lease.
enum TakenOver {
    /// The next attempt begins.
    Next,
    /// The step waits until it is known whether the worker has crashed: that would be one crash too many.
    Wait,
    /// The step fails: it has no attempts left.
    Fail(Box<Failure>),
}

/// Closes the attempt of a worker that lost its lease, and decides what follows.
fn take_over(work: &mut UnitOfWork, definition: &StepDefinition) -> TakenOver {
    let step = &definition.name;
    let failure = reclaim(work, step);
    let (failures, crashes) = work.state().steps.get(step).map_or((0, 0), |run| (run.failures, run.crashes));
    if failures >= definition.retry.max_attempts() {
        return TakenOver::Fail(Box::new(failure));
    }
    if crashes.saturating_add(1) >= work.limits().crashes { TakenOver::Wait } else { TakenOver::Next }
}

/// Delays the next attempt, to give a living worker time to return with its outcome.
fn await_late_outcome(work: &mut UnitOfWork, step: &StepName, lease: &Lease) -> Allowed {
    let delay = work.limits().suspense;
    work.change_step(step, |run| run.status = StepStatus::Pending);
    reschedule(work, lease, delay);
    let attempt = work.state().steps.get(step).map_or(0, |run| run.attempt);
    work.emit(EventKind::StepRetryScheduled { step: step.clone(), attempt, delay });
    work.transition(RunStatus::Retrying)
}

/// Returns the failure of a due step that must not be tried again: the last of the workers that it is suspected
/// to have crashed returned no outcome.
fn poisoned(work: &mut UnitOfWork, step: &StepName) -> Option<Failure> {
    let limit = work.limits().crashes;
    let run = work.state().steps.get(step).filter(|run| is_suspected(run))?;
    if run.crashes.saturating_add(1) < limit {
        return None;
    }
    confirm_suspicion(work, step);
    let message = format!("the step ended with its worker {limit} times in a row");
    Some(Failure::new(FailureKind::POISON_STEP, message).at(step))
}

/// Counts the current suspicion as a crash.
fn confirm_suspicion(work: &mut UnitOfWork, step: &StepName) {
    work.change_step(step, |run| {
        if is_suspected(run) {
            run.crashes = run.crashes.saturating_add(1);
        }
    });
}

fn skip(work: &mut UnitOfWork, lease: &Lease, reason: IgnoreReason) -> Begin {
    work.remove_intent(lease.key.clone());
    Begin::Skip(reason)
}
