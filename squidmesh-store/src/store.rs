//! The store itself: each method of the port, and the module that implements it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{DatabaseConnection, DatabaseTransaction};
use squidmesh_core::definition::{Definition, Fingerprint, WorkflowName};
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{
    ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, DuePage, DueRequest, Heartbeats,
    LeaseState, PruneBatch, PruneRequest, RunHistory, RunPage, Store, StoreError, StoreSession, StrandedRequest,
    TransactionBody, TransactionOutcome, TransactionType, TriggerRecords,
};
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::{RunFilter, RunId};
use tokio::sync::oneshot;

use crate::claim::{claim_due, claim_keys, heartbeat, lease, list_due};
use crate::commit::Committer;
use crate::crash_point::at;
use crate::database::Database;
use crate::error::failed;
use crate::join::JoinedStore;
use crate::notify::Notifier;
use crate::query::{history, list, load, lookup, stranded};
use crate::transact::transact;
use crate::{identity, prune, triggers};

/// A store in a SQLite or Postgres database, which the host may share.
///
/// Clones are handles to the same store.
#[derive(Clone, Debug)]
pub struct SeaOrmStore {
    database: Arc<Database>,
    committer: Committer,
    notifier: Notifier,
}

impl SeaOrmStore {
    pub(crate) fn new(database: Arc<Database>, committer: Committer) -> Self {
        let notifier = Notifier::new(&database);
        SeaOrmStore { database, committer, notifier }
    }

    /// Returns the connections that the store does not need for itself. The host may use them for its own tables.
    ///
    /// For a transaction that is to be joined, use [`begin`](Self::begin).
    pub fn connection(&self) -> &DatabaseConnection {
        self.database.host()
    }

    /// Begins a transaction of the host, to be [joined](Self::join).
    ///
    /// On SQLite, it takes the write lock at once, as a transaction that is joined must. Every other write waits
    /// for it, so keep it short, and commit to the store directly, without joining, only after it has ended.
    ///
    /// This method is cancel safe.
    ///
    /// # Errors
    /// Returns [`StoreError::Unavailable`] if the database cannot be reached or is too busy.
    pub async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        const DOING: &str = "beginning a transaction";
        self.run(DOING, |database| async move { database.begin_for_host().await.map_err(failed(DOING)) }).await
    }

    /// Returns a session inside the host's transaction. Its commits take effect together with the host's own
    /// writes, if and when the host commits.
    ///
    /// ```
    /// # use squidmesh_store::SeaOrmStore;
    /// # use sea_orm::ConnectionTrait;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = SeaOrmStore::connect("sqlite::memory:").await?;
    /// let transaction = store.begin().await?;
    /// transaction.execute_unprepared("CREATE TABLE orders (id TEXT)").await?;
    /// let session = store.join(&transaction);
    /// // Give the session to any command of the runtime, then:
    /// drop(session);
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn join<'a>(&self, transaction: &'a DatabaseTransaction) -> JoinedStore<'a> {
        JoinedStore::new(Arc::clone(&self.database), transaction)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Runs `work` to completion even if the caller is dropped.
    async fn run<T: Send + 'static, W: Future<Output = Result<T, StoreError>> + Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(Arc<Database>) -> W,
    ) -> Result<T, StoreError> {
        let work = tokio::spawn(work(Arc::clone(&self.database)));
        work.await.unwrap_or_else(|error| Err(StoreError::Unavailable { doing, source: Box::new(error) }))
    }

    /// Claims in a task of its own. If the caller is gone when the claim completes, its leases are released at
    /// once instead of expiring.
    async fn claimed<T: Send + 'static>(
        &self,
        claim: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        leases: impl Fn(&T) -> Vec<Lease> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, notifier) = (Arc::clone(&self.database), self.notifier.clone());
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(Ok(unwanted)) = sender.send(claim.await) {
                match lease::release_leases(&database, &leases(&unwanted), Duration::ZERO).await {
                    Ok(()) => notifier.notify(),
                    Err(error) => {
                        tracing::debug!(%error, "cannot release the leases of an abandoned claim; they will expire");
                    }
                }
            }
        });
        let answer = receiver.await;
        answer.unwrap_or_else(|error| Err(StoreError::Unavailable { doing: "claiming work", source: Box::new(error) }))
    }
}

#[async_trait]
impl StoreSession for SeaOrmStore {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        at("load", load::load(self.database.reader(), id)).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        at("commit", self.committer.commit(commits)).await
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        at("find_by_idempotency_key", lookup::find_by_idempotency_key(self.database.reader(), workflow, key)).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        at("definition", lookup::definition(self.database.reader(), fingerprint)).await
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        at("history", history::history(self.database.reader(), id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let filter = filter.clone();
        let reading = self.run("listing runs", |database| async move { list::in_snapshot(&database, &filter).await });
        at("list", reading).await
    }
}

#[async_trait]
impl Store for SeaOrmStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        let (database, request) = (Arc::clone(&self.database), request.clone());
        let leases = |claims: &ClaimBatch| claims.claims.iter().map(|claim| claim.lease.clone()).collect();
        at("claim", self.claimed(async move { claim_due::claim(&database, &request).await }, leases)).await
    }

    async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError> {
        let (database, request) = (Arc::clone(&self.database), request.clone());
        let lease_of = |claim: &ClaimResult| match claim {
            ClaimResult::Claimed(claim) => Some(claim.lease.clone()),
            _ => None,
        };
        let leases = move |claims: &Vec<ClaimResult>| claims.iter().filter_map(lease_of).collect();
        at("claim_keys", self.claimed(async move { claim_keys::claim_keys(&database, &request).await }, leases)).await
    }

    async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError> {
        at("list_due", list_due::list_due(&self.database, request)).await
    }

    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        let leases = leases.to_vec();
        let extend = |database: Arc<Database>| async move { lease::extend_leases(&database, &leases, lease).await };
        at("extend_leases", self.run("extending leases", extend)).await
    }

    async fn heartbeats(&self) -> Result<Option<Box<dyn Heartbeats>>, StoreError> {
        at("heartbeats", heartbeat::open(&self.database)).await
    }

    async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        let leases = leases.to_vec();
        let release = |database: Arc<Database>| async move { lease::release_leases(&database, &leases, delay).await };
        at("release_leases", self.run("releasing leases", release)).await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        at("triggers", triggers::triggers(&self.database, workflows)).await
    }

    async fn identity(&self) -> Result<Option<String>, StoreError> {
        let identity = |database: Arc<Database>| async move { identity::identity(&database).await };
        at("identity", self.run("identifying the database", identity)).await
    }

    async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        let record = record.clone();
        let write =
            |database: Arc<Database>| async move { triggers::compare_and_set_trigger(&database, &record).await };
        at("compare_and_set_trigger", self.run("writing a cron trigger", write)).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        at("stranded", stranded::stranded(&self.database, request)).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<PruneBatch, StoreError> {
        let request = request.clone();
        let prune = |database: Arc<Database>| async move { prune::prune(&database, &request).await };
        at("prune", self.run("pruning runs", prune)).await
    }

    /// Supported on Postgres, and on a SQLite file in a directory that can be watched. Listening starts with the
    /// first call.
    async fn work_notified(&self) {
        self.notifier.notified().await;
    }

    /// Notifies on Postgres, at most ten times a second.
    fn notify_work(&self) {
        self.notifier.notify();
    }

    fn is_listening(&self) -> bool {
        self.notifier.is_listening()
    }

    fn bound_calls(&self, lease: Duration) -> Result<(), String> {
        self.database.bounds.fit(lease)
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        Some(TransactionType::of::<DatabaseTransaction>())
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<TransactionOutcome, StoreError> {
        at("transact", self.run("running a step in a transaction", |database| transact(database, body))).await
    }
}
