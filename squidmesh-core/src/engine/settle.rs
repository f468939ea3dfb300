//! The end of steps and of runs: the changes that every way to end them has in common.

use super::describe::DescribeJobs;
use super::dispatch::schedule_compensation;
use super::recordable::recordable;
use super::unit_of_work::{Allowed, UnitOfWork};
use crate::dispatch::IntentKey;
use crate::name::StepName;
use crate::run::{CompensationStatus, Failure, RunStatus, StepRun, StepStatus};

/// Ends a step in a final status.
pub(super) fn finish_step(work: &mut UnitOfWork, step: &StepName, status: StepStatus) {
    let now = work.now();
    work.change_step(step, |run| {
        run.status = status;
        run.finished_at = Some(now);
    });
}

/// Ends every step run that has not begun, and removes its intent.
pub(super) fn drop_pending(work: &mut UnitOfWork) {
    let pending: Vec<StepName> = work.state().in_status(StepStatus::Pending).map(|step| step.step.clone()).collect();
    for step in pending {
        finish_step(work, &step, StepStatus::Cancelled);
        work.remove_intent(IntentKey::step(work.run().id, step));
    }
}

/// Fails the run: steps that have not begun are dropped, and completed steps are compensated.
pub(super) fn fail_run(work: &mut UnitOfWork, failure: Failure, jobs: &dyn DescribeJobs) -> Allowed {
    // The failure may quote an executor, and nothing else bounds its texts.
    let failure = recordable(failure, work.limits());
    work.fail(failure)?;
    drop_pending(work);
    compensate(work, jobs);
    Ok(())
}

/// Settles a run that no longer runs, after an attempt of it has ended. With the last of its attempts, a cancelling
/// run is cancelled, and the compensation of a failed run becomes due.
pub(super) fn settle_run(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) -> Allowed {
    match work.run().status {
        RunStatus::Cancelling => settle_cancellation(work)?,
        RunStatus::Failed if !has_running_step(work) => compensate(work, jobs),
        _ => {}
    }
    Ok(())
}

/// Changes a cancelling run to cancelled once no step of it runs.
pub(super) fn settle_cancellation(work: &mut UnitOfWork) -> Allowed {
    if has_running_step(work) { Ok(()) } else { work.transition(RunStatus::Cancelled) }
}

fn has_running_step(work: &UnitOfWork) -> bool {
    work.state().in_status(StepStatus::Running).next().is_some()
}

/// Makes the compensation of a failed run due, if a step has one that has not ended.
fn compensate(work: &mut UnitOfWork, jobs: &dyn DescribeJobs) {
    if owes_compensation(work) {
        schedule_compensation(work, jobs);
    }
}

/// Returns whether a completed step of the run has a compensation that has not ended.
pub(super) fn owes_compensation(work: &UnitOfWork) -> bool {
    work.state().steps.values().any(is_owed)
}

/// Returns whether a step has a compensation that has not ended.
pub(super) fn is_owed(step: &StepRun) -> bool {
    let ended = step
        .compensation
        .as_ref()
        .is_some_and(|run| matches!(run.status, CompensationStatus::Completed | CompensationStatus::Failed));
    step.status == StepStatus::Completed && step.recovery.compensated_by_handler && !ended
}
