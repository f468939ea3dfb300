//! Cancelling a run: nothing starts any more; what runs is awaited.

use super::advance::drop_pending;
use super::{Decided, UnitOfWork};
use crate::{
    AttemptStatus, AuditKind, EventKind, Failure, IntentKey, InvalidTransition, RunStatus, StepName, StepStatus,
};

/// Cancels the run. A run in which no step runs is cancelled at once; otherwise it is cancelling until the last one ends.
///
/// # Errors
/// [`InvalidTransition`] for a run that has ended or is being cancelled already.
pub fn cancel(work: &mut UnitOfWork, decided: Decided) -> Result<(), InvalidTransition> {
    match work.run().status {
        RunStatus::Pending | RunStatus::Paused => {
            end_paused(work);
            drop_pending(work);
            work.transition(RunStatus::Cancelled)?;
        }
        status => {
            status.transition(RunStatus::Cancelling)?;
            work.transition(RunStatus::Cancelling)?;
            drop_pending(work);
            settle_cancellation(work)?;
        }
    }
    work.audit(AuditKind::Cancelled, |event| {
        event.actor = decided.actor;
        event.comment = decided.comment;
        event.metadata = decided.metadata;
    });
    Ok(())
}

/// Makes a cancelling run cancelled once no step of it runs.
pub(super) fn settle_cancellation(work: &mut UnitOfWork) -> Result<(), InvalidTransition> {
    if work.state().in_status(StepStatus::Running).next().is_some() {
        return Ok(());
    }
    work.transition(RunStatus::Cancelled)
}

/// Closes the attempt of a step that waits for a person.
fn end_paused(work: &mut UnitOfWork) {
    let paused: Vec<StepName> = work.state().in_status(StepStatus::Paused).map(|step| step.step.clone()).collect();
    let now = work.now();
    for step in paused {
        let failure = Failure::new(Failure::CANCELLED, "the run was cancelled while it waited for a person").at(&step);
        let (attempt, duration) = work.end_attempt(&step, AttemptStatus::Failed, Some(failure.clone()));
        work.change_step(&step, |run| {
            run.status = StepStatus::Cancelled;
            run.finished_at = Some(now);
        });
        work.remove_intent(IntentKey::step(work.run().id, step.clone()));
        work.tell(EventKind::StepFailed { step, attempt, duration, error: failure });
    }
}
