//! The database as one process sees it: calls take time, fail, or succeed and lose their answer; and every commit is watched.

use std::any::Any;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use squidmesh_core::testing::MemoryStore;
use squidmesh_core::{
    ClaimRequest, Claims, Commit, CommitOutcome, Definition, Due, DueRequest, Fingerprint, History, IntentKey,
    IntentRecord, Lease, LeaseToken, Run, RunFilter, RunId, RunPage, RunState, SingleClaim, Store, StoreError,
    StoreSession, StrandedRequest, Transacted, TransactionBody, TransactionEnd, TransactionType, TriggerRecord,
    TriggerRecords, WorkflowName,
};

use super::props::Props;
use crate::mutation::Mutation;

#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) props: Arc<Props>,
    inner: MemoryStore,
}

type Answers = Vec<Result<CommitOutcome, StoreError>>;

/// The store in memory answers at once.
fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("the store in memory answers at once")
}

fn unavailable(doing: &'static str) -> StoreError {
    StoreError::Unavailable { doing, source: "the simulation".into() }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown { source: "the simulation".into() }
}

/// What a run that is started is started for.
struct Named<'a>(&'a Run);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.idempotency_key {
            Some(key) if self.0.revision == 1 => write!(f, " under {key}"),
            _ => Ok(()),
        }
    }
}

impl SimStore {
    pub(crate) fn new(props: Arc<Props>) -> Self {
        SimStore { inner: props.store.clone(), props }
    }

    fn fails(&self) -> bool {
        self.props.goes_wrong(self.props.temper.faults)
    }

    /// What every call goes through before it does anything.
    async fn begin(&self, doing: &'static str) -> Result<(), StoreError> {
        self.props.stumble().await;
        if self.fails() {
            self.props.stage.note(format_args!("{doing}: not available"));
            return Err(unavailable(doing));
        }
        Ok(())
    }

    /// What a call that changed nothing goes through after it.
    async fn end<T>(&self, doing: &'static str, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.props.stumble().await;
        answer.map_err(|error| {
            self.props.stage.note(format_args!("{doing}: {error}"));
            error
        })
    }

    /// Applies one commit, as the mutation would have it, and has it watched.
    fn apply(&self, mut commit: Commit) -> Result<CommitOutcome, StoreError> {
        let id = commit.run.id;
        if let Some(mutation) = self.props.mutation {
            let stored = now(self.inner.load(id))?;
            let watch = self.props.watch();
            let definition =
                stored.as_ref().and_then(|state| watch.definition(state)).or_else(|| commit.definition.clone());
            drop(watch);
            mutation.distort(&mut commit, stored.as_ref(), definition.as_deref());
        }
        let intents = now(self.inner.history(id))?.intents;
        let answer = now(self.inner.commit(vec![commit.clone()]))?.pop().unwrap_or(Ok(CommitOutcome::Conflict));
        self.watched(&commit, &answer, &intents)?;
        answer
    }

    /// A server goes on with what it was sent, although nobody waits for it any more.
    fn apply_late(&self, commits: Vec<Commit>) {
        let (store, stage) = (self.clone(), Arc::clone(&self.props.stage));
        let delay = Duration::from_millis(stage.below(2_000));
        self.props.stage.spawn(0, async move {
            stage.sleep(delay).await;
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
        let props = &self.props;
        props.stage.note(format_args!(
            "{} commits revision {} of {id}{}, {}: {answer:?}",
            props.stage.on_stage(),
            commit.run.revision,
            Named(&commit.run),
            commit.run.status
        ));
        if let Ok(CommitOutcome::Committed) = answer {
            props.commits.fetch_add(1, Ordering::Relaxed);
            if let Some(after) = now(self.inner.load(id))? {
                props.watch().applied(commit, after, intents, props.stage.now());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl StoreSession for SimStore {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        self.begin("loading").await?;
        let answer = self.inner.load(id).await;
        self.end("loading", answer).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Answers, StoreError> {
        self.begin("committing").await?;
        if self.fails() {
            if self.props.stage.one_in(2) {
                self.props.stage.note(format_args!("the answer to a commit is lost, which is applied later"));
                self.apply_late(commits);
            } else {
                self.props.stage.note(format_args!("the answer to a commit is lost, which was not applied"));
            }
            return Err(unknown());
        }
        let mut answers = Answers::new();
        for commit in commits {
            match self.props.mutation {
                Some(mutation) if mutation.lies_about(&commit) => {
                    answers.push(Ok(CommitOutcome::Committed));
                    if mutation == Mutation::EventBeforeCommit {
                        let (store, stage) = (self.clone(), Arc::clone(&self.props.stage));
                        self.props.stage.spawn(0, async move {
                            stage.give_way().await;
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
        self.props.stumble().await;
        if self.fails() {
            self.props.stage.note(format_args!("the answer to a commit is lost, which was applied"));
            return Err(unknown());
        }
        Ok(answers)
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.begin("looking up a key").await?;
        let answer = self.inner.find_by_key(workflow, key).await;
        self.end("looking up a key", answer).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.begin("loading a definition").await?;
        let answer = self.inner.definition(fingerprint).await;
        self.end("loading a definition", answer).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
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
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        self.begin("claiming").await?;
        let mut request = request.clone();
        if self.props.mutation == Some(Mutation::EndlessLease) {
            request.lease *= 1_000_000;
        }
        let answer = self.inner.claim(&request).await;
        if let Ok(found) = &answer {
            for claim in &found.claims {
                self.props.stage.note(format_args!("{} claims {}", self.props.stage.on_stage(), claim.lease.key));
            }
        }
        self.end("claiming", answer).await
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        self.begin("claiming").await?;
        let lease = if self.props.mutation == Some(Mutation::EndlessLease) { lease * 1_000_000 } else { lease };
        let answer = self.inner.claim_keys(keys, token, lease).await;
        for found in answer.iter().flatten() {
            if let SingleClaim::Claimed(claim) = found {
                self.props.stage.note(format_args!("{} claims {}", self.props.stage.on_stage(), claim.lease.key));
            }
        }
        self.end("claiming", answer).await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        self.begin("looking for due work").await?;
        let answer = self.inner.due(request).await;
        self.end("looking for due work", answer).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        self.begin("extending leases").await?;
        let answer = self.inner.extend(leases, lease).await;
        self.end("extending leases", answer).await
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        self.begin("giving back").await?;
        let answer = self.inner.release(leases, delay).await;
        self.end("giving back", answer).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        self.begin("reading triggers").await?;
        let answer = self.inner.triggers(workflows).await;
        self.end("reading triggers", answer).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        self.begin("writing a trigger").await?;
        let mut record = record.clone();
        if self.props.mutation == Some(Mutation::SkippedOccurrence) && record.revision > 1 {
            record.positions.values_mut().for_each(|position| *position = position.after(squidmesh_core::minutes(20)));
        }
        let written = self.inner.put_trigger(&record).await?;
        self.props.stage.note(format_args!(
            "trigger {} is at {:?}: {written}",
            record.trigger,
            record.positions.values()
        ));
        if written {
            self.props.watch().scheduled(&record);
        }
        self.props.stumble().await;
        if self.fails() { Err(unavailable("writing a trigger")) } else { Ok(written) }
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        self.begin("looking for stranded runs").await?;
        let answer = self.inner.stranded(request).await;
        self.end("looking for stranded runs", answer).await
    }

    async fn work_committed(&self) {
        if self.props.temper.tells {
            self.inner.work_committed().await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        self.inner.transaction_type()
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<Transacted, StoreError> {
        self.begin("beginning a transaction").await?;
        let witnessed = Arc::new(Mutex::new(Witnessed::default()));
        let lost = self.fails();
        let body = WatchedBody { store: self.clone(), body, lost, witnessed: Arc::clone(&witnessed) };
        let answer = self.inner.transact(Box::new(body)).await;
        let Witnessed { commits, intents, given_up } =
            std::mem::take(&mut *witnessed.lock().unwrap_or_else(PoisonError::into_inner));
        if let Ok(Transacted::Committed) = answer {
            for commit in &commits {
                self.watched(commit, &Ok(CommitOutcome::Committed), &intents)?;
            }
        }
        if given_up {
            return Err(unknown());
        }
        self.props.stumble().await;
        match answer {
            Ok(Transacted::Committed) if self.fails() => {
                self.props.stage.note(format_args!("the answer to a transaction is lost, which was committed"));
                Err(unknown())
            }
            answer => answer,
        }
    }
}

/// What was seen of a transaction.
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
        if self.store.props.mutation == Some(Mutation::RowsWithoutOutcome) {
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
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        self.session.load(id).await
    }

    async fn commit(&self, mut commits: Vec<Commit>) -> Result<Answers, StoreError> {
        if let Some(mutation) = self.store.props.mutation {
            for commit in &mut commits {
                let stored = self.session.load(commit.run.id).await?;
                let definition = stored.as_ref().and_then(|state| self.store.props.watch().definition(state));
                mutation.distort(commit, stored.as_ref(), definition.as_deref());
            }
        }
        let answers = self.session.commit(commits.clone()).await?;
        let applied = commits.into_iter().zip(&answers);
        let applied = applied.filter(|(_, answer)| matches!(answer, Ok(CommitOutcome::Committed)));
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).extend(applied.map(|(commit, _)| commit));
        Ok(answers)
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.session.find_by_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.session.definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        self.session.history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.session.list(filter).await
    }
}
