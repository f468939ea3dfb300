//! Going on after a step: its successors are dispatched, or the run ends.

use std::time::Duration;

use super::UnitOfWork;
use super::dispatch::{DescribeJobs, DispatchError, dispatch_successors, owe_compensation};
use crate::{
    AuditKind, Failure, IntentKey, InvalidTransition, RecoveryRoute, RunStatus, Shape, StepName, StepStatus, Target,
    TransitionOutcome,
};

/// Goes on after `step` has completed.
pub(super) fn advance(
    work: &mut UnitOfWork,
    step: &StepName,
    delay: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    match work.definition().shape() {
        Shape::Transitions => {
            let target =
                work.definition().transition(step.as_str(), TransitionOutcome::Ok).map(|found| found.to.clone());
            match target {
                Some(target) => follow(work, &target, delay, jobs),
                None => {
                    let message = format!("step {step} completed, and the workflow names nothing to follow it");
                    fail_run(work, Failure::new(Failure::NO_SUCCESSOR, message).at(step), jobs)
                }
            }
        }
        Shape::Dependencies => join(work, step, delay, jobs),
    }
}

/// Goes on to a target of a transition.
pub(super) fn follow(
    work: &mut UnitOfWork,
    target: &Target,
    delay: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    match target {
        Target::Complete => work.transition(RunStatus::Completed),
        Target::Step(next) => {
            work.run_mut().current_step = Some(next.clone());
            match dispatch_successors(work, std::slice::from_ref(next), delay, jobs) {
                Ok(1..) => Ok(()),
                Ok(0) => {
                    let message = format!("step {next} was to follow, but it has been scheduled before");
                    fail_run(work, Failure::new(Failure::NO_SUCCESSOR, message).at(next), jobs)
                }
                Err(error) => refused(work, next, &error, jobs),
            }
        }
    }
}

/// Dispatches what `step` was the last thing to wait for; completes the run when nothing is left.
fn join(
    work: &mut UnitOfWork,
    step: &StepName,
    delay: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    let completed =
        |name: &StepName| work.state().steps.get(name).is_some_and(|step| step.status == StepStatus::Completed);
    let runnable: Vec<StepName> = work
        .definition()
        .dependents(step.as_str())
        .into_iter()
        // Siblings mostly end in the order in which they are declared: the last one is the first to be missing.
        .filter(|next| !work.state().steps.contains_key(&next.name) && next.after.iter().rev().all(completed))
        .map(|next| next.name.clone())
        .collect();
    if let Err(error) = dispatch_successors(work, &runnable, delay, jobs) {
        let next = runnable.first().unwrap_or(step).clone();
        return refused(work, &next, &error, jobs);
    }
    let begun = work.state().steps.len() == work.definition().steps().len();
    let done = begun && work.state().steps.values().all(|step| step.status == StepStatus::Completed);
    if done { work.transition(RunStatus::Completed) } else { Ok(()) }
}

fn refused(
    work: &mut UnitOfWork,
    next: &StepName,
    error: &DispatchError,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    let kind = match error {
        DispatchError::Refused(_) => Failure::SUCCESSOR_REFUSED,
        _ => Failure::NO_SUCCESSOR,
    };
    let message = format!("step {next} was to follow, but it could not be dispatched: {error}");
    fail_run(work, Failure::new(kind, message).at(next), jobs)
}

/// Ends a step in failure: the error transition is followed if there is one, otherwise the run fails.
pub(super) fn fail_step(
    work: &mut UnitOfWork,
    step: &StepName,
    failure: Failure,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    let now = work.now();
    work.change_step(step, |run| {
        run.status = StepStatus::Failed;
        run.finished_at = Some(now);
    });
    let route = work.definition().transition(step.as_str(), TransitionOutcome::Error).cloned();
    let Some(route) = route else { return fail_run(work, failure.at(step), jobs) };
    if let Some(recovery) = route.recovery {
        work.change_step(step, |run| run.routes.push(recovery));
        let kind = match recovery {
            RecoveryRoute::Compensation => AuditKind::CompensationRouted,
            RecoveryRoute::Undo => AuditKind::UndoRouted,
        };
        work.audit(kind, |event| event.step = Some(step.clone()));
    }
    follow(work, &route.to, None, jobs)
}

/// Fails the run: what has not begun never will, and what has completed is compensated.
pub(super) fn fail_run(
    work: &mut UnitOfWork,
    failure: Failure,
    jobs: &dyn DescribeJobs,
) -> Result<(), InvalidTransition> {
    work.transition(RunStatus::Failed)?;
    work.run_mut().last_error = Some(failure);
    drop_pending(work);
    if owes_compensation(work) {
        owe_compensation(work, jobs);
    }
    Ok(())
}

/// Ends every step run that has not begun, and takes its intent away.
pub(super) fn drop_pending(work: &mut UnitOfWork) {
    let now = work.now();
    let pending: Vec<StepName> = work.state().in_status(StepStatus::Pending).map(|step| step.step.clone()).collect();
    for step in pending {
        work.change_step(&step, |run| {
            run.status = StepStatus::Cancelled;
            run.finished_at = Some(now);
        });
        work.remove_intent(IntentKey::step(work.run().id, step));
    }
}

/// Whether a completed step of the run has a compensation that has not ended.
pub(super) fn owes_compensation(work: &UnitOfWork) -> bool {
    work.state().steps.values().any(super::compensate::is_owed)
}
