//! Cancelling a run: nothing starts any more, and running steps are awaited.

use super::UnitOfWork;
use super::manual::{Attribution, CommandRefused};
use super::settle::{drop_pending, finish_step, settle_cancellation};
use crate::dispatch::IntentKey;
use crate::event::EventKind;
use crate::name::StepName;
use crate::run::{AttemptStatus, AuditKind, Failure, FailureKind, RunStatus, StepStatus};

/// Cancels the run. A run without running steps is cancelled at once; otherwise it is cancelling until the last
/// of them ends.
///
/// # Errors
/// [`CommandRefused::InvalidTransition`] for a run that has ended or is being cancelled already.
pub fn cancel(work: &mut UnitOfWork, attribution: Attribution) -> Result<(), CommandRefused> {
    match work.run().status {
        RunStatus::Pending | RunStatus::Paused => {
            end_paused(work);
            drop_pending(work);
            work.transition(RunStatus::Cancelled)?;
        }
        status => {
            status.transition(RunStatus::Cancelling)?;
            work.transition(RunStatus::Cancelling)?;
            end_paused(work);
            drop_pending(work);
            settle_cancellation(work)?;
        }
    }
    work.audit(AuditKind::Cancelled, |event| attribution.sign(event));
    Ok(())
}

/// Closes the attempt of a step that waits for a person or a signal.
fn end_paused(work: &mut UnitOfWork) {
    let paused: Vec<StepName> = work.state().in_status(StepStatus::Paused).map(|step| step.step.clone()).collect();
    for step in paused {
        let failure = Failure::new(FailureKind::CANCELLED, "the run was cancelled while the step waited").at(&step);
        let (attempt, duration) = work.end_attempt(&step, AttemptStatus::Failed, Some(failure.clone()));
        finish_step(work, &step, StepStatus::Cancelled);
        work.remove_intent(IntentKey::step(work.run().id, step.clone()));
        work.emit(EventKind::StepFailed { step, attempt, duration, error: failure, is_final: true });
    }
}
