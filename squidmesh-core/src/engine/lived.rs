//! A late outcome: the worker of an attempt that was taken over has returned, so it had not crashed.
//!
//! The outcome is not recorded, because the step continued without it; that the worker lived is recorded. This is
//! decided under the run's revision alone, because there is no lease left to fence with.

use serde_json::{Map, Value};

use super::UnitOfWork;
use crate::name::StepName;
use crate::run::{AuditKind, FailureKind, StepRun, StepStatus};

/// Records that the worker of an attempt that was closed as stale has lived. While the step has not settled, the
/// failure that the takeover counted is removed, and so is the suspicion: of the crashes in a row, those up to
/// this attempt no longer count.
pub fn lived(work: &mut UnitOfWork, step: &StepName, attempt: u32, outcome: &'static str) {
    work.change_step(step, |run| {
        if !matches!(run.status, StepStatus::Pending | StepStatus::Running) {
            return;
        }
        let open = u32::from(run.status == StepStatus::Running);
        let later = run.attempt.saturating_sub(open).saturating_sub(attempt);
        run.failures = run.failures.saturating_sub(1);
        if later == 0 && is_suspected(run) {
            run.last_error = None;
        }
        run.crashes = run.crashes.min(later.saturating_sub(1));
    });
    work.audit(AuditKind::Lived, |event| {
        event.step = Some(step.clone());
        let facts = [("attempt", Value::from(attempt)), ("outcome", Value::from(outcome))];
        event.metadata = Some(Map::from_iter(facts.map(|(name, fact)| (name.to_owned(), fact))));
    });
}

/// Returns whether the worker of the last ended attempt is suspected to have crashed, and nothing was recorded of
/// it since.
pub(super) fn is_suspected(run: &StepRun) -> bool {
    // A handler's own failure names no step.
    run.last_error.as_ref().is_some_and(|error| error.kind == FailureKind::STALE_RUNNING_STEP && error.step.is_some())
}
