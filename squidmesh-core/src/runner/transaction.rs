//! Executes a transactional step: its handler and the record of its outcome share one transaction of the store.
//!
//! A failure is recorded in a commit of its own, after the transaction was rolled back. If the database fails or
//! another change conflicts, nothing that the handler wrote is stored, so the handler runs again within the same
//! attempt.

use std::any::Any;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::execute::retryable;
use super::record::{RecordedRun, expect_successor};
use super::shared::Runner;
use crate::engine::{self, Outcome, RecordOutcome, StepTask, UnitOfWork};
use crate::handler::ErasedTransactional;
use crate::lock::lock;
use crate::port::{StoreError, StoreSession, TransactionBody, TransactionEnd, TransactionOutcome};
use crate::run::{Failure, FailureKind, InvalidTransition, Run, RunSnapshot, StepStatus};
use crate::runtime::{
    Announcement, CachedRun, Call, DecideError, Held, RetryBudget, RetryPolicy, RunKeptChanging, RunNotFound,
};

/// The maximum number of conflicts with other changes before the execution fails.
const MAX_CONFLICTS: u32 = 200;

impl Runner {
    /// Returns the handler of a task that runs in a transaction.
    pub(super) fn transactional(&self, run: &Run, task: &StepTask) -> Option<Arc<dyn ErasedTransactional>> {
        let workflow = self.runtime.registry.version(&run.fingerprint)?;
        workflow.transactional_handler(task.step.as_str()).cloned()
    }

    /// Runs the handler and records its outcome in one transaction.
    pub(super) async fn execute_in_transaction(
        &self,
        handler: Arc<dyn ErasedTransactional>,
        cached: &CachedRun,
        task: &StepTask,
        held: &Arc<Held>,
    ) -> RecordedRun {
        let mut budget = RetryBudget::new(RetryPolicy::retry_for(self.retry_time()));
        let mut conflicts = 0;
        // The cached run may be older than the attempt: then the stored one is loaded.
        let mut known = cached.snapshot(self.runtime.turn_timeout()).await.filter(|state| task.is_open(state));
        // The successors that the tries began.
        let mut tried: Vec<StepTask> = Vec::new();
        loop {
            let state = match known.take() {
                Some(state) => state,
                None => match self.runtime.store.load(cached.id()).await {
                    // By an earlier try, or by another worker.
                    Ok(Some(found)) if !task.is_open(&found) => {
                        return Ok(self.closed(cached, task, "completed", &tried, found).await);
                    }
                    Ok(found) => found.ok_or(RunNotFound { run: cached.id() })?,
                    Err(error) => {
                        budget.wait(&*self.runtime.clock, error).await?;
                        continue;
                    }
                },
            };
            let progress = Arc::new(Mutex::new(BodyProgress::Incomplete));
            let body = StepBody {
                runner: self.clone(),
                handler: handler.clone(),
                state,
                task: task.clone(),
                held: held.clone(),
                outcome: Outcome::Interrupted,
                progress: progress.clone(),
            };
            let transacted = self.runtime.store.transact(Box::new(body)).await;
            let progress = std::mem::take(&mut *lock(&progress));
            let error = match (transacted, progress) {
                (Ok(TransactionOutcome::Committed), BodyProgress::Recorded(recorded)) => {
                    return Ok(self.announce_recorded(cached, *recorded));
                }
                (Err(error @ StoreError::OutcomeUnknown { .. }), BodyProgress::Recorded(recorded)) => {
                    tried.extend(recorded.recorded.next().cloned());
                    match self.look_up(&recorded, error, &mut budget).await? {
                        LookedUp::Committed => return Ok(self.announce_recorded(cached, *recorded)),
                        LookedUp::Open(found) => known = Some(*found),
                        LookedUp::Closed(found) => {
                            return Ok(self.closed(cached, task, "completed", &tried, *found).await);
                        }
                    }
                    continue;
                }
                (
                    Err(StoreError::Refused { source, .. }),
                    BodyProgress::HandlerSucceeded | BodyProgress::Recorded(_),
                ) => {
                    return self.record(cached, task, refused("was not committed", &*source), held, tried).await;
                }
                (Ok(TransactionOutcome::RolledBack), BodyProgress::HandlerEnded(outcome)) => {
                    return self.record(cached, task, outcome, held, tried).await;
                }
                (Ok(TransactionOutcome::RolledBack), BodyProgress::Superseded(found)) => {
                    return Ok(self.closed(cached, task, "completed", &tried, *found).await);
                }
                (Ok(TransactionOutcome::RolledBack), BodyProgress::NotRecorded(DecideError::Store(error))) => {
                    match error {
                        StoreError::Refused { source, .. } => {
                            return self
                                .record(cached, task, refused("could not be used for recording", &*source), held, tried)
                                .await;
                        }
                        error => error,
                    }
                }
                (Ok(TransactionOutcome::RolledBack), BodyProgress::NotRecorded(DecideError::Fenced(_))) => {
                    return self.fenced(cached, task, "completed", &tried).await;
                }
                (Ok(TransactionOutcome::RolledBack), BodyProgress::NotRecorded(error)) => return Err(error),
                (Ok(TransactionOutcome::Conflict), _) => {
                    conflicts += 1;
                    if conflicts >= MAX_CONFLICTS {
                        return Err(RunKeptChanging { run: cached.id() }.into());
                    }
                    continue;
                }
                (Err(error), _) => error,
                // The store broke its contract: nothing is known to be committed.
                (Ok(_), _) => {
                    let source = "the store ended the transaction differently than its body returned".into();
                    StoreError::Unavailable { doing: "executing a transactional step", source }
                }
            };
            budget.wait(&*self.runtime.clock, error).await?;
        }
    }

    fn announce_recorded(&self, cached: &CachedRun, recorded: Recorded) -> (RecordOutcome, Arc<Run>) {
        let run = Arc::new(recorded.state.run.clone());
        cached.insert_if_newer(Arc::new(recorded.state));
        self.runtime.announce(&recorded.announcement);
        (recorded.recorded, run)
    }

    /// Resolves a commit whose answer was lost: the run's token shows whether it was applied or, if the run has
    /// progressed since, the step does.
    async fn look_up(
        &self,
        recorded: &Recorded,
        mut error: StoreError,
        budget: &mut RetryBudget<'_>,
    ) -> Result<LookedUp, StoreError> {
        let (run, task) = (&recorded.state.run, &recorded.task);
        loop {
            budget.wait(&*self.runtime.clock, error).await?;
            match self.runtime.store.load(run.id).await {
                Ok(Some(found)) if found.run.token == run.token => return Ok(LookedUp::Committed),
                Ok(Some(found)) => {
                    let looked_up = if task.is_open(&found) { LookedUp::Open } else { LookedUp::Closed };
                    return Ok(looked_up(Box::new(found)));
                }
                Ok(None) => {
                    let reason = "it was deleted while one of its steps is executed".to_owned();
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
    Open(Box<RunSnapshot>),
    Closed(Box<RunSnapshot>),
}

/// How far the body of a transaction got.
#[derive(Default)]
enum BodyProgress {
    /// The body did not run to its end.
    #[default]
    Incomplete,
    /// The handler succeeded; nothing is recorded yet.
    HandlerSucceeded,
    /// The handler ended in a way that rolls back its writes; its outcome is recorded in a commit of its own.
    HandlerEnded(Outcome),
    /// The outcome is recorded, if the transaction commits.
    Recorded(Box<Recorded>),
    /// The attempt was closed by another worker meanwhile.
    Superseded(Box<RunSnapshot>),
    /// The outcome could not be recorded.
    NotRecorded(DecideError<InvalidTransition>),
}

/// A record that takes effect once its transaction is committed.
struct Recorded {
    recorded: RecordOutcome,
    state: RunSnapshot,
    task: StepTask,
    announcement: Announcement,
}

/// Runs the handler, and then records its outcome.
struct StepBody {
    runner: Runner,
    handler: Arc<dyn ErasedTransactional>,
    state: RunSnapshot,
    task: StepTask,
    held: Arc<Held>,
    outcome: Outcome,
    progress: Arc<Mutex<BodyProgress>>,
}

impl StepBody {
    fn end_with(&self, what: BodyProgress) -> TransactionEnd {
        let end = match what {
            BodyProgress::Recorded(_) => TransactionEnd::Commit,
            _ => TransactionEnd::RollBack,
        };
        *lock(&self.progress) = what;
        end
    }
}

#[async_trait]
impl TransactionBody for StepBody {
    async fn work(&mut self, transaction: &(dyn Any + Send + Sync)) -> TransactionEnd {
        let (run, task) = (&self.state.run, &self.task);
        self.outcome = self.runner.execute_in(transaction, &*self.handler, run, task, &self.held.cancellation).await;
        match self.outcome {
            Outcome::Completed { .. } => {
                self.end_with(BodyProgress::HandlerSucceeded);
                TransactionEnd::Commit
            }
            _ => self.end_with(BodyProgress::HandlerEnded(self.outcome.clone())),
        }
    }

    /// Decides within the transaction, without waiting for other decisions about the run: the one whose turn it is
    /// may be waiting for this transaction.
    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd {
        let runtime = &*self.runner.runtime;
        let (state, task) = (self.state.clone(), &self.task);
        let decision = |work: &mut UnitOfWork| {
            let continuation = self.runner.continuation(work, &task.lease);
            let recorded = engine::record(work, task, self.outcome.clone(), continuation, runtime)?;
            expect_successor(&self.held, &recorded);
            Ok(recorded)
        };
        let call = Call::new(runtime.config.call_timeout);
        let policy = RetryPolicy::fail_fast(&call);
        let decided = runtime.decide_in_session(session, state.run.id, Some(state), policy, decision).await;
        self.end_with(match decided {
            Ok((RecordOutcome::Superseded, found, _)) => BodyProgress::Superseded(Box::new(found)),
            Ok((recorded, state, announcement)) => match state.steps.get(&task.step).map(|step| step.status) {
                Some(StepStatus::Completed) => {
                    let task = task.clone();
                    BodyProgress::Recorded(Box::new(Recorded { recorded, state, task, announcement }))
                }
                // Its output cannot be stored, so its writes must not be either.
                _ => BodyProgress::HandlerEnded(self.outcome.clone()),
            },
            Err(error) => BodyProgress::NotRecorded(error),
        })
    }
}

/// Returns the outcome of an attempt whose transaction the database refused.
fn refused(how: &str, source: &(dyn std::error::Error + 'static)) -> Outcome {
    let mut failure = Failure::new(FailureKind::TRANSACTION, format!("the transaction of the step {how}"));
    failure.chain = std::iter::successors(Some(source), |error| error.source()).map(ToString::to_string).collect();
    retryable(failure)
}
