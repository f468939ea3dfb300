//! Recording the outcome of an attempt: one commit, which also begins the successor.
//!
//! The answer to that commit may be lost, and the database may apply it even after the run was read again. The worker
//! then finds its attempt closed, or its claim gone, by itself: it continues with the successor that it began.

use std::sync::Arc;

use super::late::name_of;
use super::shared::Runner;
use crate::definition::Shape;
use crate::dispatch::Lease;
use crate::engine::{self, Continuation, Outcome, RecordOutcome, StepTask, UnitOfWork};
use crate::run::{InvalidTransition, Run, RunSnapshot};
use crate::runtime::handover::begin_steps;
use crate::runtime::{CachedRun, DecideError, Handover, Held, RetryBudget, RetryPolicy, Runtime};

/// The result of recording an outcome, and the run after it.
pub(super) type RecordedRun = Result<(RecordOutcome, Arc<Run>), DecideError<InvalidTransition>>;

impl Runner {
    /// Records the outcome of an attempt in a commit of its own, which also begins the successor.
    /// `tried` are the successors that earlier tries began, whose answers were lost.
    pub(super) async fn record(
        &self,
        run: &CachedRun,
        task: &StepTask,
        outcome: Outcome,
        held: &Held,
        mut tried: Vec<StepTask>,
    ) -> RecordedRun {
        let name = name_of(&outcome);
        let mut siblings = Siblings::default();
        let decision = |work: &mut UnitOfWork| {
            siblings.tries += 1;
            let continuation = self.continuation(work, &task.lease);
            let recorded = engine::record(work, task, outcome.clone(), continuation, &*self.runtime)?;
            if recorded == RecordOutcome::Superseded {
                let found = engine::find_recorded(work.state(), task, &tried);
                siblings.found = found.is_some();
                return Ok(found.unwrap_or(recorded));
            }
            expect_successor(held, &recorded);
            tried.extend(recorded.next().cloned());
            if self.may_continue(work.run()) {
                siblings.begin(&self.runtime, work)?;
            }
            Ok(recorded)
        };
        let recorded = self.runtime.decide_in_group(run, self.retry_time(), decision).await;
        siblings.end(&recorded);
        match recorded {
            Err(DecideError::Fenced(_)) => self.fenced(run, task, name, &tried).await,
            Ok((RecordOutcome::Superseded, after)) => {
                self.record_lived(run.id(), task, name).await;
                Ok((RecordOutcome::Superseded, after))
            }
            recorded => recorded,
        }
    }

    /// Finds out why a worker does not hold the claim under which it records: because an earlier try, whose answer was
    /// lost, was applied after all, or because another worker has taken over.
    pub(super) async fn fenced(
        &self,
        cached: &CachedRun,
        task: &StepTask,
        outcome: &'static str,
        tried: &[StepTask],
    ) -> RecordedRun {
        let mut budget = RetryBudget::new(RetryPolicy::retry_for(self.retry_time()));
        loop {
            match self.runtime.store.load(cached.id()).await {
                Ok(Some(found)) => return Ok(self.closed(cached, task, outcome, tried, found).await),
                Ok(None) => return Err(DecideError::Fenced(cached.id())),
                Err(error) => budget.wait(&*self.runtime.clock, error).await?,
            }
        }
    }

    /// Returns what an earlier try has recorded if it was applied after all, or else that another worker has closed the
    /// attempt.
    pub(super) async fn closed(
        &self,
        cached: &CachedRun,
        task: &StepTask,
        outcome: &'static str,
        tried: &[StepTask],
        found: RunSnapshot,
    ) -> (RecordOutcome, Arc<Run>) {
        let run = Arc::new(found.run.clone());
        if let Some(recorded) = engine::find_recorded(&found, task, tried) {
            cached.insert_if_newer(Arc::new(found));
            return (recorded, run);
        }
        self.record_lived(cached.id(), task, outcome).await;
        (RecordOutcome::Superseded, run)
    }

    /// Returns how this worker continues with a successor. `None` while it drains, while an intent that comes before
    /// all others waits, or if the run was adopted by a version that is not registered here.
    pub(super) fn continuation(&self, work: &UnitOfWork, lease: &Lease) -> Option<Continuation<'_>> {
        let lowest = self.lowest_priority().filter(|_| self.may_continue(work.run()))?;
        // Siblings may share the token of their claim, and any of them may begin the step that waits for all.
        let token = match work.definition().shape() {
            Shape::Transitions => lease.token,
            Shape::Dependencies => self.runtime.entropy.lease_token(),
        };
        Some(Continuation { token, lease: self.runtime.config.lease, queues: &self.queues, lowest })
    }
}

/// The successors that the record of an outcome begins for idle workers, beside the one that its own worker continues
/// with.
#[derive(Default)]
struct Siblings {
    begun: Vec<Handover>,
    tries: usize,
    /// Whether an earlier try turned out to be committed.
    found: bool,
}

impl Siblings {
    /// Begins them in the first try. Other tries leave them to claims.
    fn begin(&mut self, runtime: &Runtime, work: &mut UnitOfWork) -> Result<(), InvalidTransition> {
        if self.tries == 1 {
            self.begun = begin_steps(runtime, work, usize::MAX)?;
        }
        Ok(())
    }

    /// Hands them over if the first try was committed, and frees their workers if another one was. If that is not known,
    /// the workers look for their steps.
    fn end(self, recorded: &RecordedRun) {
        let Ok((RecordOutcome::Recorded { .. }, _)) = recorded else { return };
        match self.tries {
            1 => self.begun.into_iter().for_each(|step| step.committed(None)),
            _ if self.found => {}
            _ => self.begun.into_iter().for_each(Handover::cancel),
        }
    }
}

/// Keeps the lease on a successor alive from before the commit that begins it.
pub(super) fn expect_successor(held: &Held, recorded: &RecordOutcome) {
    if let Some(next) = recorded.next() {
        held.expect_successor(&next.lease);
    }
}
