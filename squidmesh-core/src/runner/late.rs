//! Late outcomes: not recorded, but the fact that their worker is alive is.

use super::shared::Runner;
use crate::engine::{self, Outcome, StepTask};
use crate::id::RunId;
use crate::port::RunHistory;
use crate::run::{AttemptStatus, AuditKind, FailureKind, InvalidTransition};
use crate::runtime::{Call, RetryPolicy};

impl Runner {
    /// Records that the worker of an attempt that was taken over is alive. Best effort: it changes what a later
    /// takeover counts, and nothing that was recorded.
    pub(super) async fn record_lived(&self, id: RunId, task: &StepTask, outcome: &'static str) {
        let history = match self.runtime.store.history(id).await {
            Ok(history) => history,
            Err(error) => {
                tracing::debug!(target: "squidmesh", run_id = %id, %error, "the history for a late outcome could not be read");
                return;
            }
        };
        if !was_taken_over(&history, task) {
            return;
        }
        tracing::warn!(
            target: "squidmesh",
            run_id = %id,
            step = %task.step,
            attempt = task.attempt,
            outcome,
            "an outcome came too late and is not recorded: the lease had expired and the step was taken over; its worker is recorded as alive"
        );
        let decision = |work: &mut engine::UnitOfWork| {
            engine::lived(work, &task.step, task.attempt, outcome);
            Ok::<_, InvalidTransition>(())
        };
        let call = Call::new(self.runtime.config.call_timeout);
        if let Err(error) = self.runtime.decide(id, RetryPolicy::fail_fast(&call), decision).await {
            tracing::debug!(target: "squidmesh", run_id = %id, %error, "the worker of a late outcome could not be recorded as alive");
        }
    }
}

/// Returns whether the attempt was closed as stale, and nothing has been recorded about its worker since.
fn was_taken_over(history: &RunHistory, task: &StepTask) -> bool {
    let stale = history.attempts.iter().any(|attempt| {
        (&attempt.step, attempt.number, attempt.status) == (&task.step, task.attempt, AttemptStatus::Failed)
            && attempt.error.as_ref().is_some_and(|error| error.kind == FailureKind::STALE_RUNNING_STEP)
    });
    let known = history.audit.iter().any(|event| {
        event.kind == AuditKind::Lived
            && event.step.as_ref() == Some(&task.step)
            && event.metadata.as_ref().and_then(|facts| facts.get("attempt")) == Some(&task.attempt.into())
    });
    stale && !known
}

/// Returns the name of an outcome in the audit trail.
pub(super) fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed { .. } => "completed",
        Outcome::Failed { .. } => "failed",
        Outcome::Interrupted => "interrupted",
    }
}
