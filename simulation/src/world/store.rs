//! The database as one process sees it: calls take time, fail, or succeed and lose their answer; every commit is
//! watched.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use squidmesh_core::definition::{Definition, Fingerprint, WorkflowName};
use squidmesh_core::dispatch::{IntentKey, Lease};
use squidmesh_core::port::{
    ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, DuePage, DueRequest, IntentRecord,
    LeaseState, RunHistory, RunPage, Store, StoreError, StoreSession, StrandedRequest, Takeover, TransactionBody,
    TransactionEnd, TransactionOutcome, TransactionType, TriggerRecords,
};
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::testing::MemoryStore;
use squidmesh_core::{Run, RunFilter, RunId, RunStatus, Timestamp};

use super::environment::Environment;
use super::trace::{Changes, Named};
use crate::mutation::Mutation;

#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) environment: Arc<Environment>,
    inner: MemoryStore,
}

/// The message of the panic of [`Mutation::PanickingStore`].
pub(crate) const PLANNED: &str = "the store panics as planned";

type Answers = Vec<Result<CommitOutcome, StoreError>>;

/// Returns the result of a call of the store in memory, which completes at once.
fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("the store in memory answers at once")
}

fn unavailable(doing: &'static str) -> StoreError {
    StoreError::Unavailable { doing, source: "the simulation".into() }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown { source: "the simulation".into() }
}

/// Changes an ended run to what it may have been before its last commit.
fn read_stale(run: &mut Run) {
    if run.status.is_terminal() && run.revision > 1 {
        (run.status, run.finished_at) = (RunStatus::Running, None);
        run.revision -= 1;
    }
}

impl SimStore {
    pub(crate) fn new(environment: Arc<Environment>) -> Self {
        SimStore { inner: environment.store.clone(), environment }
    }

    fn fails(&self) -> bool {
        self.environment.goes_wrong(self.environment.conditions.faults)
    }

    /// Delays or fails a call before it does anything.
    async fn begin(&self, doing: &'static str) -> Result<(), StoreError> {
        self.environment.stumble().await;
        if self.fails() {
            self.environment.scheduler.note(format_args!("{doing}: not available"));
            return Err(unavailable(doing));
        }
        Ok(())
    }

    /// Delays a call that changed nothing, after it.
    async fn end<T>(&self, doing: &'static str, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.environment.stumble().await;
        answer.map_err(|error| {
            self.environment.scheduler.note(format_args!("{doing}: {error}"));
            error
        })
    }

    async fn claimed(&self, key: &IntentKey) {
        let process = self.environment.scheduler.current_process();
        self.environment.scheduler.note(format_args!("{process} claims {key}"));
        let state = self.inner.load(key.run_id).await.ok().flatten();
        self.environment.executing.claimed(key, process, state.as_ref());
    }

    /// Fails a claim that has taken longer than a third of a lease: before it is applied, as a server ends it, and
    /// after it, as if its answer were lost. A claim names the leases that its process holds when it is sent.
    fn in_time(&self, begun: Timestamp) -> Result<(), StoreError> {
        let took = self.environment.scheduler.now().since(begun);
        if took > self.environment.conditions.lease / 3 { Err(unavailable("claiming")) } else { Ok(()) }
    }

    /// Applies one commit, changed by the mutation, and passes it to the observer.
    fn apply(&self, mut commit: Commit) -> Result<CommitOutcome, StoreError> {
        let id = commit.run.id;
        if let Some(mutation) = self.environment.mutation {
            let stored = now(self.inner.load(id))?;
            let observer = self.environment.observer();
            let definition =
                stored.as_ref().and_then(|state| observer.definition(state)).or_else(|| commit.definition.clone());
            drop(observer);
            mutation.distort(&mut commit, stored.as_ref(), definition.as_deref());
        }
        let intents = now(self.inner.history(id))?.intents;
        let answer = now(self.inner.commit(vec![commit.clone()]))?.pop().unwrap_or(Ok(CommitOutcome::Conflict));
        self.watched(&commit, &answer, &intents)?;
        answer
    }

    /// Applies commits later: a server continues with a request although its caller no longer waits.
    fn apply_late(&self, commits: Vec<Commit>) {
        let (store, scheduler) = (self.clone(), Arc::clone(&self.environment.scheduler));
        let delay = Duration::from_millis(scheduler.below(2_000));
        self.environment.scheduler.spawn(0, async move {
            scheduler.sleep(delay).await;
            for commit in commits {
                let _ = store.apply(commit);
            }
        });
    }

    fn watched(
        &self,
        commit: &Commit,
        answer: &Result<CommitOutcome, StoreError>,
        intents: &[IntentRecord],
    ) -> Result<(), StoreError> {
        let id = commit.run.id;
        let environment = &self.environment;
        environment.scheduler.note(format_args!(
            "{} commits revision {} of {id}{}, {}{}: {answer:?}",
            environment.scheduler.current_process(),
            commit.run.revision,
            Named(&commit.run),
            commit.run.status,
            Changes(commit)
        ));
        if let Ok(CommitOutcome::Committed) = answer {
            environment.commits.fetch_add(1, Ordering::Relaxed);
            if let Some(after) = now(self.inner.load(id))? {
                environment.observer().applied(commit, after, intents, environment.scheduler.now());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl StoreSession for SimStore {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        self.begin("loading").await?;
        assert!(self.environment.mutation != Some(Mutation::PanickingStore), "{PLANNED}");
        let mut answer = self.inner.load(id).await;
        if let (Some(Mutation::StaleRead), Ok(Some(state))) = (self.environment.mutation, &mut answer) {
            read_stale(&mut state.run);
        }
        self.end("loading", answer).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Answers, StoreError> {
        self.begin("committing").await?;
        if self.fails() {
            if self.environment.scheduler.one_in(2) {
                self.environment.scheduler.note(format_args!("the answer to a commit is lost, which is applied later"));
                self.apply_late(commits);
            } else {
                self.environment.scheduler.note(format_args!("the answer to a commit is lost, which was not applied"));
            }
            return Err(unknown());
        }
        let mut answers = Answers::new();
        for commit in commits {
            match self.environment.mutation {
                Some(mutation) if mutation.answers_wrongly(&commit) => {
                    answers.push(Ok(CommitOutcome::Committed));
                    if mutation == Mutation::EventBeforeCommit {
                        let (store, scheduler) = (self.clone(), Arc::clone(&self.environment.scheduler));
                        self.environment.scheduler.spawn(0, async move {
                            scheduler.give_way().await;
                            let _ = store.apply(commit);
                        });
                    }
                }
                Some(mutation) if let Some(second) = mutation.second(&commit) => {
                    answers.push(self.apply(commit));
                    let _ = self.apply(second);
                }
                _ => answers.push(self.apply(commit)),
            }
        }
        self.environment.stumble().await;
        if self.fails() {
            self.environment.scheduler.note(format_args!("the answer to a commit is lost, which was applied"));
            return Err(unknown());
        }
        Ok(answers)
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.begin("looking up a key").await?;
        let answer = self.inner.find_by_idempotency_key(workflow, key).await;
        self.end("looking up a key", answer).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.begin("loading a definition").await?;
        let answer = self.inner.definition(fingerprint).await;
        self.end("loading a definition", answer).await
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        self.begin("loading a history").await?;
        let answer = self.inner.history(id).await;
        self.end("loading a history", answer).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.begin("listing").await?;
        let answer = self.inner.list(filter).await;
        self.end("listing", answer).await
    }
}

#[async_trait]
impl Store for SimStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        let begun = self.environment.scheduler.now();
        self.begin("claiming").await?;
        let mut request = request.clone();
        if self.environment.mutation == Some(Mutation::EndlessLease) {
            request.lease *= 1_000_000;
        }
        if self.environment.mutation == Some(Mutation::OwnWorkTaken) {
            request.takeover = Takeover::default();
        }
        self.in_time(begun)?;
        let answer = self.inner.claim(&request).await;
        if let Ok(found) = &answer {
            for claim in &found.claims {
                self.claimed(&claim.lease.key).await;
            }
        }
        let answer = self.end("claiming", answer).await;
        self.in_time(begun).and(answer)
    }

    async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError> {
        let begun = self.environment.scheduler.now();
        self.begin("claiming").await?;
        let mut request = request.clone();
        if self.environment.mutation == Some(Mutation::EndlessLease) {
            request.lease *= 1_000_000;
        }
        if self.environment.mutation == Some(Mutation::OwnWorkTaken) {
            request.takeover = Takeover::default();
        }
        self.in_time(begun)?;
        let answer = self.inner.claim_keys(&request).await;
        for found in answer.iter().flatten() {
            if let ClaimResult::Claimed(claim) = found {
                self.claimed(&claim.lease.key).await;
            }
        }
        let answer = self.end("claiming", answer).await;
        self.in_time(begun).and(answer)
    }

    async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError> {
        self.begin("listing due work").await?;
        let answer = self.inner.list_due(request).await;
        self.end("listing due work", answer).await
    }

    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        self.begin("extending leases").await?;
        let answer = self.inner.extend_leases(leases, lease).await;
        self.end("extending leases", answer).await
    }

    async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        self.begin("giving back").await?;
        let answer = self.inner.release_leases(leases, delay).await;
        self.end("giving back", answer).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        self.begin("reading triggers").await?;
        let answer = self.inner.triggers(workflows).await;
        self.end("reading triggers", answer).await
    }

    async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        self.begin("writing a trigger").await?;
        let mut record = record.clone();
        if self.environment.mutation == Some(Mutation::SkippedOccurrence) && record.revision > 1 {
            record.positions.values_mut().for_each(|position| *position = position.after(squidmesh_core::minutes(20)));
        }
        let written = self.inner.compare_and_set_trigger(&record).await?;
        self.environment.scheduler.note(format_args!(
            "trigger {} is at {:?}: {written}",
            record.trigger,
            record.positions.values()
        ));
        if written {
            self.environment.observer().scheduled(&record);
        }
        self.environment.stumble().await;
        if self.fails() { Err(unavailable("writing a trigger")) } else { Ok(written) }
    }

    async fn identity(&self) -> Result<Option<String>, StoreError> {
        self.inner.identity().await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        self.begin("listing stranded runs").await?;
        let answer = self.inner.stranded(request).await;
        self.end("listing stranded runs", answer).await
    }

    async fn work_notified(&self) {
        if self.environment.mutation == Some(Mutation::NeverQuiet) {
            // A caller that checks whether it has completed polls it once, and once more to wait for it.
            self.environment.scheduler.give_way().await;
            self.environment.scheduler.give_way().await;
        } else if self.environment.conditions.notifies {
            self.inner.work_notified().await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    fn bound_calls(&self, lease: Duration) -> Result<(), String> {
        self.inner.bound_calls(lease)
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        self.inner.transaction_type()
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<TransactionOutcome, StoreError> {
        self.begin("beginning a transaction").await?;
        let witnessed = Arc::new(Mutex::new(Witnessed::default()));
        let lost = self.fails();
        let body = WatchedBody { store: self.clone(), body, lost, witnessed: Arc::clone(&witnessed) };
        let answer = self.inner.transact(Box::new(body)).await;
        let Witnessed { commits, intents, given_up } =
            std::mem::take(&mut *witnessed.lock().unwrap_or_else(PoisonError::into_inner));
        if let Ok(TransactionOutcome::Committed) = answer {
            for commit in &commits {
                self.watched(commit, &Ok(CommitOutcome::Committed), &intents)?;
            }
        }
        if given_up {
            return Err(unknown());
        }
        self.environment.stumble().await;
        match answer {
            Ok(TransactionOutcome::Committed) if self.fails() => {
                self.environment
                    .scheduler
                    .note(format_args!("the answer to a transaction is lost, which was committed"));
                Err(unknown())
            }
            answer => answer,
        }
    }
}

/// The record of a transaction.
#[derive(Default)]
struct Witnessed {
    commits: Vec<Commit>,
    intents: Vec<IntentRecord>,
    given_up: bool,
}

struct WatchedBody {
    store: SimStore,
    body: Box<dyn TransactionBody>,
    lost: bool,
    witnessed: Arc<Mutex<Witnessed>>,
}

#[async_trait]
impl TransactionBody for WatchedBody {
    async fn work(&mut self, transaction: &(dyn Any + Send + Sync)) -> TransactionEnd {
        self.body.work(transaction).await
    }

    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd {
        if self.store.environment.mutation == Some(Mutation::RowsWithoutOutcome) {
            return TransactionEnd::Commit;
        }
        let commits = Mutex::default();
        let end = self.body.record(&WatchedSession { store: &self.store, session, commits: &commits }).await;
        let commits = commits.into_inner().unwrap_or_else(PoisonError::into_inner);
        let intents = commits.first().and_then(|commit| now(self.store.inner.history(commit.run.id)).ok());
        let given_up = self.lost && end == TransactionEnd::Commit;
        let intents = intents.map(|history| history.intents).unwrap_or_default();
        *self.witnessed.lock().unwrap_or_else(PoisonError::into_inner) = Witnessed { commits, intents, given_up };
        if given_up { TransactionEnd::RollBack } else { end }
    }
}

struct WatchedSession<'a> {
    store: &'a SimStore,
    session: &'a dyn StoreSession,
    commits: &'a Mutex<Vec<Commit>>,
}

#[async_trait]
impl StoreSession for WatchedSession<'_> {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        self.session.load(id).await
    }

    async fn commit(&self, mut commits: Vec<Commit>) -> Result<Answers, StoreError> {
        if let Some(mutation) = self.store.environment.mutation {
            for commit in &mut commits {
                let stored = self.session.load(commit.run.id).await?;
                let definition = stored.as_ref().and_then(|state| self.store.environment.observer().definition(state));
                mutation.distort(commit, stored.as_ref(), definition.as_deref());
            }
        }
        let answers = self.session.commit(commits.clone()).await?;
        let applied = commits.into_iter().zip(&answers);
        let applied = applied.filter(|(_, answer)| matches!(answer, Ok(CommitOutcome::Committed)));
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).extend(applied.map(|(commit, _)| commit));
        Ok(answers)
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.session.find_by_idempotency_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.session.definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        self.session.history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.session.list(filter).await
    }
}
