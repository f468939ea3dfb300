//! A store that counts what is asked of the one behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::{
    ClaimRequest, Claims, Commit, CommitOutcome, Definition, Due, DueRequest, Fingerprint, History, IntentKey, Lease,
    LeaseToken, PruneRequest, Pruned, RunFilter, RunId, RunPage, RunState, SingleClaim, Store, StoreError,
    StoreSession, StrandedRequest, Transacted, TransactionBody, TransactionType, TriggerRecord, TriggerRecords,
    WorkflowName,
};

/// How often each method was called.
pub type Calls = BTreeMap<&'static str, usize>;

/// The store. What needs no look into the database, such as to wait for a word of others, is not counted.
#[derive(Clone)]
pub struct Counting<S> {
    store: S,
    calls: Arc<Mutex<Calls>>,
    without_runs: bool,
}

impl<S> Counting<S> {
    /// Counts from now on.
    pub fn over(store: S) -> Self {
        Counting { store, calls: Arc::default(), without_runs: false }
    }

    /// Gives claims without their runs, as to those who had them at hand when they asked.
    #[must_use]
    pub fn without_runs(self) -> Self {
        Counting { without_runs: true, ..self }
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Calls {
        std::mem::take(&mut *self.calls.lock().expect("nobody panics in between"))
    }

    fn count(&self, method: &'static str) -> &S {
        *self.calls.lock().expect("nobody panics in between").entry(method).or_default() += 1;
        &self.store
    }
}

#[async_trait]
impl<S: StoreSession> StoreSession for Counting<S> {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        self.count("load").load(id).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        self.count("commit").commit(commits).await
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.count("find_by_key").find_by_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.count("definition").definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        self.count("history").history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.count("list").list(filter).await
    }
}

#[async_trait]
impl<S: Store> Store for Counting<S> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        let mut claims = self.count("claim").claim(request).await?;
        if self.without_runs {
            claims.claims.iter_mut().for_each(|claim| claim.state = Ok(None));
        }
        Ok(claims)
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        self.count("claim_keys").claim_keys(keys, token, lease).await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        self.count("due").due(request).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        self.count("extend").extend(leases, lease).await
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        self.count("release").release(leases, delay).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        self.count("triggers").triggers(workflows).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        self.count("put_trigger").put_trigger(record).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        self.count("stranded").stranded(request).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, StoreError> {
        self.count("prune").prune(request).await
    }

    async fn work_committed(&self) {
        self.store.work_committed().await;
    }

    fn tell_of_work(&self) {
        self.store.tell_of_work();
    }

    fn hears_of_work(&self) -> bool {
        self.store.hears_of_work()
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        self.store.transaction_type()
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<Transacted, StoreError> {
        self.count("transact").transact(body).await
    }
}
