//! Carrying out a transactional step: its handler and the record of its outcome in one transaction of the store.
//!
//! A failure is recorded in a commit of its own, after the transaction was rolled back. When the database fails, or another
//! change came in between, nothing of the handler is left, so it is run again within the same attempt.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::Runner;
use super::execute::retryable;
use super::step::RecordedRun;
use crate::engine::{self, Outcome, Recorded, StepTask, UnitOfWork};
use crate::runtime::{Announcement, DecideError, HotRun, Patience, Persistence};
use crate::{
    Cancellation, ErasedTransactional, Failure, InvalidTransition, Run, RunState, StepStatus, StoreError, StoreSession,
    Transacted, TransactionBody, TransactionEnd,
};

/// How many times a step is carried out anew because another change came in between.
const CONFLICTS: u32 = 200;

impl Runner {
    /// The handler of a task that is to be carried out in a transaction.
    pub(super) fn transactional(&self, run: &Run, task: &StepTask) -> Option<Arc<dyn ErasedTransactional>> {
        let workflow = self.runtime.registry.version(&run.fingerprint)?;
        workflow.transactional_handler(task.step.as_str()).cloned()
    }

    /// Runs the handler and records its outcome in one transaction.
    pub(super) async fn carry_out_in_transaction(
        &self,
        handler: Arc<dyn ErasedTransactional>,
        hot: &HotRun<'_>,
        task: &StepTask,
        cancellation: &Cancellation,
    ) -> RecordedRun {
        let mut patience = Patience::new(self.persistence());
        let mut conflicts = 0;
        let mut known = hot.committed().await;
        loop {
            let state = match known.take() {
                Some(state) => state,
                None => match self.runtime.store.load(hot.id()).await {
                    Ok(found) => found.ok_or(DecideError::NotFound(hot.id()))?,
                    Err(error) => {
                        patience.wait(&self.runtime, error).await?;
                        continue;
                    }
                },
            };
            let came_to = Arc::new(Mutex::new(CameTo::Nothing));
            let body = StepBody {
                runner: self.clone(),
                handler: handler.clone(),
                state,
                task: task.clone(),
                cancellation: cancellation.clone(),
                outcome: Outcome::Interrupted,
                came_to: came_to.clone(),
            };
            let transacted = self.runtime.store.transact(Box::new(body)).await;
            let came_to = std::mem::take(&mut *came_to.lock().unwrap_or_else(PoisonError::into_inner));
            let error = match (transacted, came_to) {
                (Ok(Transacted::Committed), CameTo::Recorded(recorded)) => return Ok(self.told(hot, *recorded)),
                (Err(error @ StoreError::OutcomeUnknown { .. }), CameTo::Recorded(recorded)) => {
                    match self.look_up(&recorded, error, &mut patience).await? {
                        LookedUp::Committed => return Ok(self.told(hot, *recorded)),
                        LookedUp::Open(found) => known = Some(*found),
                        LookedUp::Closed(found) => return Ok((Recorded::Superseded, Arc::new(found.run))),
                    }
                    continue;
                }
                (Err(StoreError::Refused { source, .. }), CameTo::Worked | CameTo::Recorded(_)) => {
                    return self.record(hot, task, refused("was not committed", &*source)).await;
                }
                (Ok(Transacted::RolledBack), CameTo::Ended(outcome)) => {
                    return self.record(hot, task, outcome).await;
                }
                (Ok(Transacted::RolledBack), CameTo::Superseded(found)) => {
                    return Ok((Recorded::Superseded, Arc::new(found.run)));
                }
                (Ok(Transacted::RolledBack), CameTo::Undecided(DecideError::Store(error))) => match error {
                    StoreError::Refused { source, .. } => {
                        return self.record(hot, task, refused("could not be used for recording", &*source)).await;
                    }
                    error => error,
                },
                (Ok(Transacted::RolledBack), CameTo::Undecided(error)) => return Err(error),
                (Ok(Transacted::Conflict), _) => {
                    conflicts += 1;
                    if conflicts >= CONFLICTS {
                        return Err(DecideError::Conflict(hot.id()));
                    }
                    continue;
                }
                (Err(error), _) => error,
                // The store did not keep to the order of things: nothing is known to be committed.
                (Ok(_), _) => {
                    let source = "the store ended a transaction otherwise than its body wanted".into();
                    StoreError::Unavailable { doing: "carrying out a transactional step", source }
                }
            };
            patience.wait(&self.runtime, error).await?;
        }
    }

    fn told(&self, hot: &HotRun<'_>, recorded: InTransaction) -> (Recorded, Arc<Run>) {
        let run = Arc::new(recorded.state.run.clone());
        hot.offer(Arc::new(recorded.state));
        self.runtime.tell(&recorded.announcement);
        (recorded.recorded, run)
    }

    /// The answer to a commit was lost: whether it was applied is told by the run's token or, if the run has gone on since, by
    /// the step.
    async fn look_up(
        &self,
        recorded: &InTransaction,
        mut error: StoreError,
        patience: &mut Patience,
    ) -> Result<LookedUp, StoreError> {
        let (run, task) = (&recorded.state.run, &recorded.task);
        loop {
            patience.wait(&self.runtime, error).await?;
            match self.runtime.store.load(run.id).await {
                Ok(Some(found)) if found.run.token == run.token => return Ok(LookedUp::Committed),
                Ok(Some(found)) => {
                    let open = found.steps.get(&task.step).is_some_and(|step| {
                        step.status == StepStatus::Running
                            && step.attempt == task.attempt
                            && step.lease == Some(task.lease.token)
                    });
                    let found = Box::new(found);
                    return Ok(if open { LookedUp::Open(found) } else { LookedUp::Closed(found) });
                }
                Ok(None) => {
                    let reason = "it is gone while one of its steps is carried out".to_owned();
                    return Err(StoreError::Corrupt { what: format!("run {}", run.id), reason });
                }
                Err(next @ StoreError::Unavailable { .. }) => error = next,
                Err(other) => return Err(other),
            }
        }
    }
}

/// Whether a commit whose answer was lost was applied.
enum LookedUp {
    Committed,
    Open(Box<RunState>),
    Closed(Box<RunState>),
}

/// What the body of a transaction came to.
#[derive(Default)]
enum CameTo {
    /// It was not run to its end.
    #[default]
    Nothing,
    /// The handler succeeded, and nothing is recorded.
    Worked,
    /// The handler ended in a way that rolls its writes back; it is to be recorded by itself.
    Ended(Outcome),
    /// The outcome is recorded, if the transaction commits.
    Recorded(Box<InTransaction>),
    /// The attempt was closed by another meanwhile.
    Superseded(Box<RunState>),
    /// The outcome could not be recorded.
    Undecided(DecideError<InvalidTransition>),
}

/// A record that counts once its transaction is committed.
struct InTransaction {
    recorded: Recorded,
    state: RunState,
    task: StepTask,
    announcement: Announcement,
}

/// The handler, and after it the record.
struct StepBody {
    runner: Runner,
    handler: Arc<dyn ErasedTransactional>,
    state: RunState,
    task: StepTask,
    cancellation: Cancellation,
    outcome: Outcome,
    came_to: Arc<Mutex<CameTo>>,
}

impl StepBody {
    fn comes_to(&self, what: CameTo) -> TransactionEnd {
        let end = match what {
            CameTo::Recorded(_) => TransactionEnd::Commit,
            _ => TransactionEnd::RollBack,
        };
        *self.came_to.lock().unwrap_or_else(PoisonError::into_inner) = what;
        end
    }
}

#[async_trait]
impl TransactionBody for StepBody {
    async fn work(&mut self, transaction: &(dyn Any + Send + Sync)) -> TransactionEnd {
        let (run, task) = (&self.state.run, &self.task);
        self.outcome = self.runner.execute_in(transaction, &*self.handler, run, task, &self.cancellation).await;
        match self.outcome {
            Outcome::Completed { .. } => {
                self.comes_to(CameTo::Worked);
                TransactionEnd::Commit
            }
            _ => self.comes_to(CameTo::Ended(self.outcome.clone())),
        }
    }

    /// Decides within the transaction, and not in turn with other decisions about the run: whoever has the turn may be waiting
    /// for this very transaction.
    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd {
        let runtime = &*self.runner.runtime;
        let (state, task) = (self.state.clone(), &self.task);
        let decision = |work: &mut UnitOfWork| {
            engine::record(work, task, self.outcome.clone(), self.runner.go_on(work.run(), &task.lease), runtime)
        };
        let decided = runtime.decide_in(session, state.run.id, Some(state), Persistence::Caller, decision).await;
        self.comes_to(match decided {
            Ok((Recorded::Superseded, found, _)) => CameTo::Superseded(Box::new(found)),
            Ok((recorded, state, announcement)) => match state.steps.get(&task.step).map(|step| step.status) {
                Some(StepStatus::Completed) => {
                    let task = task.clone();
                    CameTo::Recorded(Box::new(InTransaction { recorded, state, task, announcement }))
                }
                // Its output cannot be kept, so neither can what it wrote.
                _ => CameTo::Ended(self.outcome.clone()),
            },
            Err(error) => CameTo::Undecided(error),
        })
    }
}

/// The failure of an attempt whose transaction the database does not take.
fn refused(how: &str, source: &(dyn std::error::Error + 'static)) -> Outcome {
    let mut failure = Failure::new(Failure::TRANSACTION, format!("the transaction of the step {how}"));
    failure.chain = std::iter::successors(Some(source), |error| error.source()).map(ToString::to_string).collect();
    retryable(failure)
}
