//! Recording the outcome of an attempt: one commit, which also begins the successor.

use std::sync::Arc;

use super::late::name_of;
use super::shared::Runner;
use crate::dispatch::Lease;
use crate::engine::{self, Continuation, Outcome, RecordOutcome, StepTask, UnitOfWork};
use crate::run::{InvalidTransition, Run};
use crate::runtime::{CachedRun, DecideError, Held};

/// The result of recording an outcome, and the run after it.
pub(super) type RecordedRun = Result<(RecordOutcome, Arc<Run>), DecideError<InvalidTransition>>;

impl Runner {
    /// Records the outcome of an attempt in a commit of its own, which also begins the successor.
    pub(super) async fn record(&self, run: &CachedRun, task: &StepTask, outcome: Outcome, held: &Held) -> RecordedRun {
        let name = name_of(&outcome);
        let decision = |work: &mut UnitOfWork| {
            let continuation = self.continuation(work.run(), &task.lease);
            let recorded = engine::record(work, task, outcome.clone(), continuation, &*self.runtime)?;
            expect_successor(held, &recorded);
            Ok(recorded)
        };
        let recorded = self.runtime.decide_in_group(run, self.retry_time(), decision).await;
        if let Ok((RecordOutcome::Superseded, _)) | Err(DecideError::Fenced(_)) = recorded {
            self.record_lived(run.id(), task, name).await;
        }
        recorded
    }

    /// Returns how this worker continues with a successor. `None` while it drains, while an intent that comes before
    /// all others waits, or if the run was adopted by a version that is not registered here.
    pub(super) fn continuation(&self, run: &Run, lease: &Lease) -> Option<Continuation<'_>> {
        let lowest = self.lowest_priority().filter(|_| self.may_continue(run))?;
        Some(Continuation { token: lease.token, lease: self.runtime.config.lease, queues: &self.queues, lowest })
    }
}

/// Keeps the lease on a successor alive from before the commit that begins it.
pub(super) fn expect_successor(held: &Held, recorded: &RecordOutcome) {
    if let RecordOutcome::Recorded { next: Some(next) } = recorded {
        held.expect_successor(&next.lease);
    }
}
