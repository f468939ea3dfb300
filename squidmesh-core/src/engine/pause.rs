//! Pausing a step that waits for a person or a signal.
//!
//! Stores what the step waits for and what follows, as declared now. Its deadline, if it has one, stays behind as an
//! intent without a lease. Knows edges and deadlines; never knows who decides or what is sent.

use super::advance::fail_step;
use super::describe::DescribeJobs;
use super::dispatch::reschedule;
use super::signal::take_buffered;
use super::unit_of_work::{Allowed, UnitOfWork};
use crate::definition::{Guard, StepDefinition, StepKind, Target, Transition, TransitionOutcome};
use crate::dispatch::Lease;
use crate::run::{AttemptStatus, AuditKind, Failure, FailureKind, PausedContinuation, RunStatus, StepStatus};

/// Pauses a step whose attempt has just begun. A pause or an approval pauses its run too; a wait for a signal takes one
/// that has come already.
pub(super) fn pause(
    work: &mut UnitOfWork,
    definition: &StepDefinition,
    lease: &Lease,
    jobs: &dyn DescribeJobs,
) -> Allowed {
    let step = &definition.name;
    let Some(continuation) = continuation(work, definition) else {
        let failure = Failure::new(FailureKind::NO_SUCCESSOR, format!("step {step} has no ok transition"));
        work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
        return fail_step(work, step, failure, jobs);
    };
    let waits_for_signal = continuation.signal.is_some();
    work.change_step(step, |run| {
        run.status = StepStatus::Paused;
        run.lease = None;
        run.continuation = Some(continuation);
    });
    if let Some(deadline) = &definition.deadline {
        reschedule(work, lease, deadline.after);
    }
    if waits_for_signal {
        return take_buffered(work, step, jobs);
    }
    work.transition(RunStatus::Paused)?;
    work.audit(AuditKind::Paused, |event| event.step = Some(step.clone()));
    Ok(())
}

/// Returns what a step waits for, and the edges that leave it; `None` if it has no ok transition. A validated version
/// declares the signals that its steps wait for.
fn continuation(work: &UnitOfWork, definition: &StepDefinition) -> Option<PausedContinuation> {
    let (version, step) = (work.definition(), definition.name.as_str());
    let target = |on| version.transition(step, on).map(|found| found.to.clone());
    let signal = match &definition.kind {
        StepKind::WaitFor { signal } => Some(version.signal(signal)?.name().clone()),
        _ => None,
    };
    let deadline = definition.deadline.as_ref();
    let own = deadline.and_then(|deadline| deadline.to.clone());
    let on_expiry = || version.transition_on_failure(step, FailureKind::EXPIRED.as_str()).map(|found| found.to.clone());
    let expired = deadline.and_then(|_| own.clone().or_else(on_expiry));
    let may_expire = deadline.is_some() && own.is_none();
    let is_possible = |found: &&Transition| match (&found.guard, &definition.kind) {
        (Some(Guard::Kind(_)), StepKind::Pause) => false,
        (Some(Guard::Kind(kind)), _) if *kind == FailureKind::EXPIRED.as_str() => may_expire,
        (Some(Guard::Kind(kind)), StepKind::Approval) => *kind == FailureKind::REJECTED.as_str(),
        _ => true,
    };
    Some(PausedContinuation {
        ok: target(TransitionOutcome::Ok)?,
        error: target(TransitionOutcome::Error).filter(|_| definition.kind != StepKind::Pause),
        // A wait that nothing follows on expiry fails its run.
        expired: expired.or_else(|| deadline.filter(|_| signal.is_some()).map(|_| Target::Fail)),
        own_deadline: own.is_some(),
        signal,
        guarded: version.guarded_transitions(step).filter(is_possible).cloned().collect(),
        output_key: definition.output.clone(),
    })
}
