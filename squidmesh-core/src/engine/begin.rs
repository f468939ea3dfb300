//! Beginning a delivered step: the claim becomes an open attempt, or the delivery turns out to be nothing to do.

use std::sync::Arc;
use std::time::Duration;

use super::UnitOfWork;
use super::advance::{advance, fail_step, owes_compensation};
use super::cancel::settle_cancellation;
use super::dispatch::{DescribeJobs, owe_compensation, schedule_pending};
use super::manual::expire;
use super::record::{StepTask, complete_step};
use crate::{
    AttemptStatus, AuditKind, EventKind, Failure, Intent, InvalidTransition, Lease, Priority, QueueName, Resume,
    RunStatus, Shape, SkipReason, StepDefinition, StepKind, StepName, StepStatus, TransitionOutcome,
};

/// What came of beginning a step. The unit of work is to be committed in every case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// Carry out this task, once the change is committed.
    Execute(StepTask),
    /// There was nothing to carry out, and the run went on.
    Advanced,
    /// The delivery was a no-op.
    Skip(SkipReason),
}

/// How long a delivery is put off that this version of the workflow cannot carry out.
const PUT_OFF: Duration = Duration::from_secs(10);

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

/// The same, for a claim that is made in this very unit of work.
pub(super) fn begin_claimed(
    work: &mut UnitOfWork,
    step: &StepName,
    lease: &Lease,
    jobs: &dyn DescribeJobs,
) -> Result<Begin, InvalidTransition> {
    let status = work.state().steps.get(step).map(|run| run.status);
    match work.run().status {
        RunStatus::Pending | RunStatus::Running | RunStatus::Retrying => {}
        RunStatus::Paused => {
            // What is still dispatched of a paused run is the deadline of its approval, and it is due.
            return Ok(match expire(work, step, jobs)? {
                true => Begin::Advanced,
                false => skip(work, lease, SkipReason::RunPaused),
            });
        }
        RunStatus::Cancelling => {
            if status == Some(StepStatus::Running) {
                reclaim(work, step);
                let now = work.now();
                work.change_step(step, |run| {
                    run.status = StepStatus::Cancelled;
                    run.finished_at = Some(now);
                });
            }
            settle_cancellation(work)?;
            return Ok(skip(work, lease, SkipReason::RunCancelled));
        }
        RunStatus::Failed | RunStatus::Completed | RunStatus::Cancelled => {
            if status == Some(StepStatus::Running) {
                reclaim(work, step);
                let now = work.now();
                work.change_step(step, |run| {
                    run.status = StepStatus::Failed;
                    run.finished_at = Some(now);
                });
                if work.run().status == RunStatus::Failed && owes_compensation(work) {
                    owe_compensation(work, jobs);
                }
            }
            return Ok(skip(work, lease, SkipReason::RunEnded));
        }
    }
    let Some(definition) = work.step_definition(step) else {
        put_off(work, lease, PUT_OFF);
        return Ok(Begin::Skip(SkipReason::UnknownStep));
    };
    if work.definition().shape() == Shape::Transitions && work.run().current_step.as_ref() != Some(step) {
        return Ok(skip(work, lease, SkipReason::NotCurrent));
    }
    match status {
        Some(StepStatus::Pending) => {}
        None => schedule_pending(work, step),
        Some(StepStatus::Running) => {
            if let Some(task) = resumed(work, &definition, lease) {
                return Ok(Begin::Execute(task));
            }
            if let Some(failure) = reclaim_or_fail(work, &definition) {
                work.remove_intent(lease.key.clone());
                fail_step(work, step, failure, jobs)?;
                return Ok(Begin::Advanced);
            }
        }
        Some(StepStatus::Completed) => {
            work.remove_intent(lease.key.clone());
            advance(work, step, None, jobs)?;
            return Ok(Begin::Skip(SkipReason::AlreadyCompleted));
        }
        Some(StepStatus::Paused | StepStatus::Failed | StepStatus::Cancelled) => {
            return Ok(skip(work, lease, SkipReason::NotCurrent));
        }
    }
    work.transition(RunStatus::Running)?;
    start(work, &definition, lease, jobs)
}

/// Opens the attempt and does what the kind of the step asks for.
fn start(
    work: &mut UnitOfWork,
    definition: &StepDefinition,
    lease: &Lease,
    jobs: &dyn DescribeJobs,
) -> Result<Begin, InvalidTransition> {
    let step = &definition.name;
    let attempt = work.start_attempt(step, Some(lease.token));
    work.tell(EventKind::StepStarted { step: step.clone(), attempt });
    match &definition.kind {
        StepKind::Handler | StepKind::Log { .. } => Ok(Begin::Execute(task(work, definition, attempt, lease))),
        StepKind::Wait { .. } => {
            work.remove_intent(lease.key.clone());
            complete_step(work, step, Arc::default(), None, jobs)?;
            Ok(Begin::Advanced)
        }
        StepKind::Pause | StepKind::Approval => {
            work.remove_intent(lease.key.clone());
            pause(work, definition, lease, jobs)?;
            Ok(Begin::Advanced)
        }
    }
}

/// Stops the run for a person, keeping what follows as it is declared now.
fn pause(
    work: &mut UnitOfWork,
    definition: &StepDefinition,
    lease: &Lease,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    let step = &definition.name;
    let target = |on| work.definition().transition(step.as_str(), on).map(|found| found.to.clone());
    let Some(ok) = target(TransitionOutcome::Ok) else {
        let failure = Failure::new(Failure::NO_SUCCESSOR, format!("nothing is declared to follow step {step}"));
        work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
        return fail_step(work, step, failure, jobs);
    };
    let error = match definition.kind {
        StepKind::Approval => target(TransitionOutcome::Error),
        _ => None,
    };
    let expired = match &definition.deadline {
        Some(deadline) => deadline.to.clone().or_else(|| error.clone()),
        None => None,
    };
    let resume = Resume { ok, error, expired, output_key: definition.output.clone() };
    work.change_step(step, |run| {
        run.status = StepStatus::Paused;
        run.lease = None;
        run.resume = Some(resume);
    });
    if let Some(deadline) = &definition.deadline {
        put_off(work, lease, deadline.after);
    }
    work.transition(RunStatus::Paused)?;
    work.audit(AuditKind::Paused, |event| event.step = Some(step.clone()));
    Ok(())
}

/// The task that is open already under this very claim: its begin was committed, but the answer was lost. A step that is
/// said to run without ever having been begun has none.
fn resumed(work: &UnitOfWork, definition: &StepDefinition, lease: &Lease) -> Option<StepTask> {
    let run = work.state().steps.get(&definition.name)?;
    (run.lease == Some(lease.token) && run.attempt > 0).then(|| task(work, definition, run.attempt, lease))
}

fn task(work: &UnitOfWork, definition: &StepDefinition, attempt: u32, lease: &Lease) -> StepTask {
    let input = work.state().steps.get(&definition.name).map(|run| run.input.clone()).unwrap_or_default();
    StepTask {
        step: definition.name.clone(),
        attempt,
        lease: lease.clone(),
        input,
        visible: Arc::new(work.state().visible_to(definition.name.as_str(), work.definition())),
    }
}

/// Closes the attempt of a worker that lost its lease.
fn reclaim(work: &mut UnitOfWork, step: &StepName) -> Failure {
    let failure =
        Failure::new(Failure::STALE_RUNNING_STEP, "the worker of this attempt died or lost its lease").at(step);
    let failure = Failure { retryable: true, ..failure };
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
    work.change_step(step, |run| {
        run.failures = run.failures.saturating_add(1);
        run.crashes = run.crashes.saturating_add(1);
    });
    work.tell(EventKind::StepFailed { step: step.clone(), attempt, duration, error: failure.clone() });
    failure
}

/// Closes the attempt of a worker that lost its lease; the failure is returned if there may be no other attempt.
fn reclaim_or_fail(work: &mut UnitOfWork, definition: &StepDefinition) -> Option<Failure> {
    let step = &definition.name;
    let failure = reclaim(work, step);
    let (failures, crashes) = work.state().steps.get(step).map_or((0, 0), |run| (run.failures, run.crashes));
    if crashes >= work.limits().crashes {
        let message = format!("the step ended with its worker {crashes} times in a row");
        return Some(Failure::new(Failure::POISON_STEP, message).at(step));
    }
    (failures >= definition.retry.max_attempts()).then_some(failure)
}

fn skip(work: &mut UnitOfWork, lease: &Lease, reason: SkipReason) -> Begin {
    work.remove_intent(lease.key.clone());
    Begin::Skip(reason)
}

/// Gives a claim back, to be delivered again later.
pub(super) fn put_off(work: &mut UnitOfWork, lease: &Lease, delay: Duration) {
    let definition = lease.key.target.step().and_then(|step| work.step_definition(step));
    let (queue, priority) =
        definition.map_or((QueueName::default(), Priority::Normal), |step| (step.queue, step.priority));
    let fingerprint = work.run().fingerprint;
    work.replace_intent(Intent { key: lease.key.clone(), fingerprint, queue, priority, delay, lease: None });
}
