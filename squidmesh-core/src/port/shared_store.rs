//! Implements the store port for `Arc`: hosts and tests may keep a handle on the store that the runtime uses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    ClaimBatch, ClaimResult, Commit, CommitOutcome, DuePage, DueRequest, Heartbeats, LeaseState, PruneBatch,
    PruneRequest, RunFilter, RunHistory, RunPage, Store, StoreError, StoreSession, StrandedRequest, TransactionBody,
    TransactionOutcome, TransactionType,
};
use crate::definition::{Definition, Fingerprint};
use crate::dispatch::Lease;
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::port::{ClaimKeysRequest, ClaimRequest, TriggerRecords};
use crate::run::RunSnapshot;
use crate::schedule::TriggerRecord;

#[async_trait]
impl<S: StoreSession + ?Sized> StoreSession for Arc<S> {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        (**self).load(id).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        (**self).commit(commits).await
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        (**self).find_by_idempotency_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        (**self).definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        (**self).history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        (**self).list(filter).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        (**self).claim(request).await
    }

    async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError> {
        (**self).claim_keys(request).await
    }

    async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError> {
        (**self).list_due(request).await
    }

    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        (**self).extend_leases(leases, lease).await
    }

    async fn heartbeats(&self) -> Result<Option<Box<dyn Heartbeats>>, StoreError> {
        (**self).heartbeats().await
    }

    async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        (**self).release_leases(leases, delay).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        (**self).triggers(workflows).await
    }

    async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        (**self).compare_and_set_trigger(record).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        (**self).stranded(request).await
    }

    async fn identity(&self) -> Result<Option<String>, StoreError> {
        (**self).identity().await
    }

    async fn work_notified(&self) {
        (**self).work_notified().await;
    }

    async fn prune(&self, request: &PruneRequest) -> Result<PruneBatch, StoreError> {
        (**self).prune(request).await
    }

    fn notify_work(&self) {
        (**self).notify_work();
    }

    fn is_listening(&self) -> bool {
        (**self).is_listening()
    }

    fn bound_calls(&self, lease: Duration) -> Result<(), String> {
        (**self).bound_calls(lease)
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        (**self).transaction_type()
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<TransactionOutcome, StoreError> {
        (**self).transact(body).await
    }
}
