//! A shared store is a store: hosts and tests may keep a handle on the one that the runtime uses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Claims, Commit, CommitOutcome, Due, DueRequest, History, PruneRequest, Pruned, RunFilter, RunPage, SingleClaim,
    Store, StoreError, StoreSession, StrandedRequest, Transacted, TransactionBody, TransactionType,
};
use crate::{
    ClaimRequest, Definition, Fingerprint, IntentKey, Lease, LeaseToken, RunId, RunState, TriggerRecord,
    TriggerRecords, WorkflowName,
};

#[async_trait]
impl<S: StoreSession + ?Sized> StoreSession for Arc<S> {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        (**self).load(id).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        (**self).commit(commits).await
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        (**self).find_by_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        (**self).definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        (**self).history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        (**self).list(filter).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        (**self).claim(request).await
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        (**self).claim_keys(keys, token, lease).await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        (**self).due(request).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        (**self).extend(leases, lease).await
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        (**self).release(leases, delay).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        (**self).triggers(workflows).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        (**self).put_trigger(record).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        (**self).stranded(request).await
    }

    async fn work_committed(&self) {
        (**self).work_committed().await;
    }

    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, StoreError> {
        (**self).prune(request).await
    }

    fn tell_of_work(&self) {
        (**self).tell_of_work();
    }

    fn hears_of_work(&self) -> bool {
        (**self).hears_of_work()
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        (**self).transaction_type()
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<Transacted, StoreError> {
        (**self).transact(body).await
    }
}
