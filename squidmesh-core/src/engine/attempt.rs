//! Opening and closing attempts: the numbers, counters and times that every outcome changes in the same way.

use std::time::Duration;

use super::UnitOfWork;
use crate::name::StepName;
use crate::run::{Attempt, AttemptStatus, Failure, StepStatus};
use crate::token::LeaseToken;

impl UnitOfWork {
    /// Opens the next attempt of a step under a claim and returns its number.
    pub(super) fn start_attempt(&mut self, step: &StepName, lease: Option<LeaseToken>) -> u32 {
        let now = self.now();
        let mut number = 0;
        self.change_step(step, |run| {
            run.attempt = run.attempt.saturating_add(1);
            run.status = StepStatus::Running;
            run.lease = lease;
            run.started_at = run.started_at.or(Some(now));
            run.attempt_started_at = Some(now);
            number = run.attempt;
        });
        number
    }

    /// Closes the open attempt of a step and returns its number and duration. The caller decides the step's status.
    pub(super) fn end_attempt(
        &mut self,
        step: &StepName,
        status: AttemptStatus,
        error: Option<Failure>,
    ) -> (u32, Duration) {
        let now = self.now();
        let Some(run) = self.state().steps.get(step) else { return (0, Duration::ZERO) };
        let number = run.attempt;
        let started_at = run.attempt_started_at.unwrap_or(now);
        self.close_attempt(Attempt {
            step: step.clone(),
            number,
            status,
            error: error.clone(),
            started_at,
            finished_at: Some(now),
        });
        self.change_step(step, |run| {
            run.lease = None;
            if error.is_some() {
                run.last_error = error;
            }
        });
        (number, now.since(started_at))
    }
}
