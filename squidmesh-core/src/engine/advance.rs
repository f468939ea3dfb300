//! Continuing after a step: its successors are dispatched, or the run ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::describe::DescribeJobs;
use super::dispatch::{AcceptedSuccessors, dispatch_successors};
use super::dispatch_refused::DispatchRefused;
use super::failure_path::failure_of_path;
use super::recordable::recordable;
use super::settle::{fail_run, finish_step, settle_run};
use super::unit_of_work::{Allowed, UnitOfWork};
use super::way::{has_no_way_on, has_route, is_a_choice, take, way_on, way_on_failure};
use crate::definition::{RecoveryRoute, Shape, Target, TransitionOutcome};
use crate::event::EventKind;
use crate::json::truncate_text;
use crate::name::StepName;
use crate::run::{AttemptStatus, AuditKind, Failure, FailureKind, RunStatus, StepStatus};

/// The maximum length of an unknown route in an event, in bytes.
const ROUTE: usize = 100;

/// Closes the open attempt of a step as completed, and continues according to the run's status.
pub(super) fn complete_step(
    work: &mut UnitOfWork,
    step: &StepName,
    output: Arc<Map<String, Value>>,
    (schedule_in, route): (Option<Duration>, Option<&str>),
    jobs: &dyn DescribeJobs,
) -> Allowed {
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Completed, None);
    let sequence = work.next_sequence();
    let now = work.now();
    let joins = work.definition().shape() == Shape::Dependencies;
    work.change_step(step, |run| {
        run.output = Some(output);
        run.sequence = Some(sequence);
        run.successors_at = schedule_in.filter(|_| joins).map(|delay| now.after(delay));
        run.crashes = 0;
    });
    finish_step(work, step, StepStatus::Completed);
    work.emit(EventKind::StepCompleted { step: step.clone(), attempt, duration });
    match work.run().status.may_schedule() {
        true => advance(work, step, (schedule_in, route), jobs),
        false => settle_run(work, jobs),
    }
}

/// Continues after `step` has completed: after a delay, and by a route, if its handler asked for them.
pub(super) fn advance(
    work: &mut UnitOfWork,
    step: &StepName,
    (delay, route): (Option<Duration>, Option<&str>),
    jobs: &dyn DescribeJobs,
) -> Allowed {
    if let Some(unknown) = route.filter(|route| !has_route(work, step, route)) {
        let message =
            format!("step {step} chose the route {unknown:?}, which leads nowhere: declare it with `then_named`");
        let is_final = has_no_way_on(work, step, &FailureKind::UNKNOWN_ROUTE);
        // The handler's text, which nothing has bounded yet.
        let (route, failure) =
            (truncate_text(unknown.to_owned(), ROUTE), Failure::new(FailureKind::UNKNOWN_ROUTE, message));
        let failure = recordable(failure, work.limits());
        work.emit(EventKind::RouteUnknown { step: step.clone(), route, is_final });
        return leave_by_error(work, step, failure, jobs);
    }
    match work.definition().shape() {
        Shape::Transitions => match way_on(work, step, route) {
            Some(transition) => {
                if is_a_choice(work, step, TransitionOutcome::Ok) {
                    take(work, step, &transition);
                }
                follow(work, step, &transition.to, delay, jobs)
            }
            None => {
                let message = format!("step {step} completed, and the workflow has no transition for that");
                fail_run(work, Failure::new(FailureKind::NO_SUCCESSOR, message).at(step), jobs)
            }
        },
        Shape::Dependencies => join(work, step, delay, jobs),
    }
}

/// Continues with the target of a transition that leaves `from`.
pub(super) fn follow(
    work: &mut UnitOfWork,
    from: &StepName,
    target: &Target,
    delay: Option<Duration>,
    jobs: &dyn DescribeJobs,
) -> Allowed {
    match target {
        Target::Complete => work.transition(RunStatus::Completed),
        Target::Fail => {
            let failure = declared_failure(work, from);
            fail_run(work, failure, jobs)
        }
        Target::Step(next) => {
            work.run_mut().current_step = Some(next.clone());
            match dispatch_successors(work, std::slice::from_ref(next), delay, jobs) {
                Ok(dispatched) => followed(work, next, dispatched, jobs),
                Err(error) => refused(work, next, &error, jobs),
            }
        }
    }
}

/// Returns the failure of a run whose workflow leads from this step to `FAIL`: the one that led onto its path, if any.
fn declared_failure(work: &UnitOfWork, from: &StepName) -> Failure {
    if let Some(failure) = failure_of_path(work.state(), work.definition()) {
        return Arc::unwrap_or_clone(failure);
    }
    let message = format!("the workflow fails its run after step {from}");
    Failure::new(FailureKind::FAILED, message).at(from)
}

/// Continues with a step that the executor has described already.
pub(super) fn follow_accepted(
    work: &mut UnitOfWork,
    next: &StepName,
    accepted: AcceptedSuccessors,
    jobs: &dyn DescribeJobs,
) -> Allowed {
    work.run_mut().current_step = Some(next.clone());
    let dispatched = accepted.dispatch(work);
    followed(work, next, dispatched, jobs)
}

fn followed(work: &mut UnitOfWork, next: &StepName, dispatched: usize, jobs: &dyn DescribeJobs) -> Allowed {
    if dispatched > 0 {
        return Ok(());
    }
    let message = format!("the next step {next} has been scheduled before");
    fail_run(work, Failure::new(FailureKind::NO_SUCCESSOR, message).at(next), jobs)
}

/// Dispatches the steps for which `step` was the last open dependency; completes the run when nothing is left.
fn join(work: &mut UnitOfWork, step: &StepName, delay: Option<Duration>, jobs: &dyn DescribeJobs) -> Allowed {
    let runnable: Vec<StepName> = work
        .definition()
        .dependents(step.as_str())
        .into_iter()
        // Siblings usually end in the order in which they are declared: the last one is the first to be missing.
        .filter(|next| {
            !work.state().steps.contains_key(&next.name)
                && next.after.iter().rev().all(|name| work.state().is_completed(name))
        })
        .map(|next| next.name.clone())
        .collect();
    if let Err(error) = dispatch_successors(work, &runnable, delay, jobs) {
        let next = error.refused_step().or_else(|| runnable.first().cloned()).unwrap_or_else(|| step.clone());
        return refused(work, &next, &error, jobs);
    }
    let begun = work.state().steps.len() == work.definition().steps().len();
    let done = begun && work.state().steps.values().all(|step| step.status == StepStatus::Completed);
    if done { work.transition(RunStatus::Completed) } else { Ok(()) }
}

fn refused(work: &mut UnitOfWork, next: &StepName, error: &DispatchRefused, jobs: &dyn DescribeJobs) -> Allowed {
    let kind = match error {
        DispatchRefused::ByExecutor(_) => FailureKind::SUCCESSOR_REFUSED,
        _ => FailureKind::NO_SUCCESSOR,
    };
    let message = format!("the next step {next} could not be dispatched: {error}");
    fail_run(work, Failure::new(kind, message).at(next), jobs)
}

/// Ends a step in failure: takes the error transition if there is one, and fails the run otherwise.
pub(super) fn fail_step(work: &mut UnitOfWork, step: &StepName, failure: Failure, jobs: &dyn DescribeJobs) -> Allowed {
    finish_step(work, step, StepStatus::Failed);
    leave_by_error(work, step, failure, jobs)
}

/// Leaves an ended step by the error transition for a failure if there is one, and fails the run otherwise.
fn leave_by_error(work: &mut UnitOfWork, step: &StepName, failure: Failure, jobs: &dyn DescribeJobs) -> Allowed {
    let Some(route) = way_on_failure(work, step, failure.kind.as_str()) else {
        return fail_run(work, failure.at(step), jobs);
    };
    // The failure is stored with the edge that it takes, for every step after it.
    let sequence = work.next_sequence();
    work.change_step(step, |run| {
        run.sequence = run.sequence.or(Some(sequence));
        run.last_error = Some(failure);
    });
    // A step that completed took an error transition only because it chose an unknown route.
    if is_a_choice(work, step, TransitionOutcome::Error) || work.state().is_completed(step) {
        take(work, step, &route);
    }
    if let Some(recovery) = route.recovery {
        work.change_step(step, |run| run.routes.push(recovery));
        let kind = match recovery {
            RecoveryRoute::Compensation => AuditKind::CompensationRouted,
            RecoveryRoute::Undo => AuditKind::UndoRouted,
        };
        work.audit(kind, |event| event.step = Some(step.clone()));
    }
    follow(work, step, &route.to, None, jobs)
}
