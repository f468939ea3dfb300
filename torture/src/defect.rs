//! A worker that is broken on purpose: what it commits is distorted on its way into the store. Proves that the rack notices.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::{
    ClaimRequest, Claims, Commit, CommitOutcome, Definition, Due, DueRequest, Fingerprint, History, IntentKey, Lease,
    LeaseToken, PruneRequest, Pruned, RunFilter, RunId, RunPage, RunState, SingleClaim, Store, StoreError,
    StoreSession, StrandedRequest, Transacted, TransactionBody, TransactionType, TriggerRecord, TriggerRecords,
    WorkflowName,
};
use squidmesh_simulation::mutation::Mutation;
use squidmesh_store::SeaOrmStore;

/// A store with a defect.
pub(crate) struct Defective {
    pub(crate) store: SeaOrmStore,
    pub(crate) mutation: Mutation,
}

/// The defect of a name, in any spelling of its words.
pub(crate) fn named(name: &str) -> Option<Mutation> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    Mutation::ALL.into_iter().find(|mutation| plain(&format!("{mutation:?}")) == plain(name))
}

#[async_trait]
impl StoreSession for Defective {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        self.store.load(id).await
    }

    async fn commit(&self, mut commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        for commit in &mut commits {
            let stored = self.store.load(commit.run.id).await?;
            let definition = self.store.definition(&commit.run.fingerprint).await?.map(Arc::new);
            self.mutation.distort(commit, stored.as_ref(), definition.as_deref());
        }
        self.store.commit(commits).await
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.store.find_by_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.store.definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        self.store.history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.store.list(filter).await
    }
}

#[async_trait]
impl Store for Defective {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        self.store.claim(request).await
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        self.store.claim_keys(keys, token, lease).await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        self.store.due(request).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        self.store.extend(leases, lease).await
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        self.store.release(leases, delay).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        self.store.triggers(workflows).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        self.store.put_trigger(record).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        self.store.stranded(request).await
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

    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, StoreError> {
        self.store.prune(request).await
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        self.store.transaction_type()
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<Transacted, StoreError> {
        self.store.transact(body).await
    }
}
