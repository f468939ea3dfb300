//! What loses every word: a store that never tells of committed work, and an executor that hears of none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Cancellation, ClaimRequest, Claims, Clock, Commit, CommitOutcome, Definition, Due, DueRequest, Executor,
    ExecutorError, Fingerprint, History, Intent, IntentKey, Job, JobMetadata, Lease, LeaseToken, Refusal, RunFilter,
    RunId, RunPage, RunState, Runner, SingleClaim, Store, StoreError, StoreSession, StrandedRequest, TriggerRecord,
    TriggerRecords, WorkflowName,
};

/// A store that never tells of committed work.
pub(super) struct SilentStore(pub(super) Arc<dyn Store>);

#[async_trait]
impl StoreSession for SilentStore {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        self.0.load(id).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        self.0.commit(commits).await
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.0.find_by_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.0.definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        self.0.history(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.0.list(filter).await
    }
}

#[async_trait]
impl Store for SilentStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        self.0.claim(request).await
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        self.0.claim_keys(keys, token, lease).await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        self.0.due(request).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        self.0.extend(leases, lease).await
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        self.0.release(leases, delay).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        self.0.triggers(workflows).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        self.0.put_trigger(record).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        self.0.stranded(request).await
    }

    async fn work_committed(&self) {
        futures_util::future::pending().await
    }
}

/// An executor that loses everything it is told to publish.
pub(super) struct DeafExecutor(pub(super) Arc<dyn Executor>);

#[async_trait]
impl Executor for DeafExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        self.0.describe(jobs)
    }

    fn publish(&self, _: &[Intent]) {}

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        self.0.run(runner, shutdown).await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }
}
