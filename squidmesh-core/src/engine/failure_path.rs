//! Finds the failure that led a run onto its current path.
//!
//! A step that fails and takes its error transition keeps the failure, and its position in the order in which the
//! steps of the run advanced it. So the failure is stored with the edge that was taken, and a run that resumes
//! this one receives it too.

use std::sync::Arc;

use serde_json::json;

use crate::definition::{Definition, Shape, TransitionOutcome};
use crate::run::{AuditKind, Failure, FailureKind, RunSnapshot, StepRun, StepStatus};

/// Returns the failure whose error transition was taken last; `None` in a dependency workflow, which has no such
/// transitions. A rejected approval takes one as well, and so does an approval or a wait for a signal that expired,
/// unless its deadline has its own target.
pub(super) fn failure_of_path(state: &RunSnapshot, definition: &Definition) -> Option<Arc<Failure>> {
    if definition.shape() != Shape::Transitions {
        return None;
    }
    let last = state
        .steps
        .values()
        .filter(|step| took_error_transition(step))
        .max_by_key(|step| (step.sequence, step.finished_at))?;
    let failure = match last.manual {
        None => last.last_error.clone()?,
        Some(_) => decision_failure(last),
    };
    let step = failure.step.clone().or_else(|| Some(last.step.clone()));
    Some(Arc::new(Failure { step, ..failure }))
}

/// Returns whether the run left a step by its error transition. In a run that continues, every failed step has, except
/// those that their own deadline led on from.
fn took_error_transition(step: &StepRun) -> bool {
    let (decided, continuation) =
        (step.manual.as_ref().map(|manual| manual.decision.as_str()), step.continuation.as_ref());
    match step.status {
        StepStatus::Failed => step.last_error.is_some() && !left_by_own_deadline(step),
        StepStatus::Completed if step.taken.is_some() => {
            step.taken.as_ref().is_some_and(|taken| taken.on == TransitionOutcome::Error)
        }
        StepStatus::Completed if decided == Some(AuditKind::Rejected.as_str()) => true,
        StepStatus::Completed if decided == Some(AuditKind::Expired.as_str()) => continuation
            .is_some_and(|continuation| continuation.error.is_some() && continuation.expired == continuation.error),
        _ => false,
    }
}

/// Returns whether a step waited for a signal in vain, and its deadline has its own target.
fn left_by_own_deadline(step: &StepRun) -> bool {
    let expired = step.last_error.as_ref().is_some_and(|failure| failure.kind == FailureKind::EXPIRED);
    expired && step.continuation.as_ref().is_some_and(|continuation| continuation.own_deadline)
}

/// Returns the failure of an approval that was rejected or expired.
fn decision_failure(step: &StepRun) -> Failure {
    let manual = step.manual.as_ref();
    let rejected = manual.is_some_and(|manual| manual.decision == AuditKind::Rejected.as_str());
    let (kind, message) = match rejected {
        true => (FailureKind::REJECTED, "the approval was rejected"),
        false => (FailureKind::EXPIRED, "the approval was not decided in time"),
    };
    let mut failure = Failure::new(kind, message).at(&step.step);
    failure.details =
        manual.filter(|_| rejected).map(|manual| json!({ "actor": manual.actor, "comment": manual.comment }));
    failure
}
