//! The store itself: each method of the port, and the module that carries it out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{DatabaseConnection, DatabaseTransaction};
use squidmesh_core::{
    ClaimRequest, Claims, Commit, CommitOutcome, Definition, Due, DueRequest, Fingerprint, History, IntentKey, Lease,
    LeaseToken, PruneRequest, Pruned, RunFilter, RunId, RunPage, RunState, SingleClaim, Store, StoreError,
    StoreSession, StrandedRequest, Transacted, TransactionBody, TransactionType, TriggerRecord, TriggerRecords,
    WorkflowName,
};
use tokio::sync::oneshot;

use crate::committer::Committer;
use crate::connect::{ConnectError, StoreBuilder};
use crate::crash_point::at;
use crate::database::Database;
use crate::error::failed;
use crate::join::JoinedStore;
use crate::news::News;
use crate::transact::transact;
use crate::{claim, claim_keys, due, history, lease, list, load, lookup, prune, stranded, triggers};

/// Everything in a database that the host has anyway: SQLite or Postgres.
///
/// Clones are handles on the same store.
#[derive(Clone, Debug)]
pub struct SeaOrmStore {
    database: Arc<Database>,
    committer: Committer,
    news: News,
}

impl SeaOrmStore {
    /// Opens the database of a URL, such as `sqlite://shop.db` (created if it is missing), `sqlite::memory:` or
    /// `postgres://user:password@host/database`, and creates the tables that are missing.
    ///
    /// Call it in a tokio runtime: the store's writer is a task there.
    ///
    /// # Errors
    /// [`ConnectError`]: the URL, the database or its tables are not as they must be.
    pub async fn connect(url: &str) -> Result<SeaOrmStore, ConnectError> {
        SeaOrmStore::builder(url).connect().await
    }

    /// Like [`connect`](Self::connect), on a connection that the host has already.
    ///
    /// The host then answers for its pool. On Postgres, a future that is dropped while it begins a transaction (`select!`, a
    /// timeout, an abort) hands a connection back inside the open transaction, and writes that are answered Ok are lost. Set
    /// an `after_release` hook that rolls back, and `plan_cache_mode = force_custom_plan`, as the pools have which the store makes
    /// itself. On SQLite, set the write-ahead
    /// log, `synchronous = FULL` and a busy timeout.
    ///
    /// # Errors
    /// [`ConnectError`]: the database or its tables are not as they must be.
    pub async fn from_connection(connection: DatabaseConnection) -> Result<SeaOrmStore, ConnectError> {
        SeaOrmStore::builder_on(connection).connect().await
    }

    /// Like [`connect`](Self::connect), with options.
    pub fn builder(url: &str) -> StoreBuilder {
        StoreBuilder::on_url(url)
    }

    /// Like [`from_connection`](Self::from_connection), with options.
    pub fn builder_on(connection: DatabaseConnection) -> StoreBuilder {
        StoreBuilder::on_connection(connection)
    }

    pub(crate) fn new(database: Arc<Database>, committer: Committer) -> Self {
        let news = News::of(&database);
        SeaOrmStore { database, committer, news }
    }

    /// The connections that the store does not need for itself: the host may use them for its own tables.
    ///
    /// For a transaction that is to be joined use [`begin`](Self::begin).
    pub fn connection(&self) -> &DatabaseConnection {
        self.database.host()
    }

    /// Begins a transaction of the host, to be [joined](Self::join). On SQLite it holds the write lock from the start, which
    /// a transaction that is to be joined must; everything that writes waits for it, so keep it short, and commit to the
    /// store itself, without joining, only after it has ended.
    ///
    /// May be cancelled at any moment without harm.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached or is too busy.
    pub async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        const DOING: &str = "beginning a transaction";
        let database = Arc::clone(&self.database);
        undisturbed(DOING, async move { database.begin_for_host().await.map_err(failed(DOING)) }).await
    }

    /// A session inside the host's transaction: what it commits takes effect together with the host's own writes, when and
    /// if the host commits.
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

    /// Claims in a task of its own. If the caller is gone by the time, what was claimed is given back at once, and does not
    /// lie there until its lease has run out.
    async fn claimed<T: Send + 'static>(
        &self,
        claim: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        leases: impl Fn(&T) -> Vec<Lease> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, news) = (Arc::clone(&self.database), self.news.clone());
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(Ok(unwanted)) = sender.send(claim.await) {
                match lease::release(&database, &leases(&unwanted), Duration::ZERO).await {
                    Ok(()) => news.tell(),
                    Err(error) => {
                        tracing::debug!(%error, "claims that nobody wants any more wait for their leases to run out");
                    }
                }
            }
        });
        let answer = receiver.await;
        answer.unwrap_or_else(|error| Err(StoreError::Unavailable { doing: "claiming work", source: Box::new(error) }))
    }
}

/// Runs to the end whether or not the caller does.
async fn undisturbed<T: Send + 'static>(
    doing: &'static str,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(StoreError::Unavailable { doing, source: Box::new(error) }))
}

#[async_trait]
impl StoreSession for SeaOrmStore {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        at("load", load::load(self.database.reader(), id)).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        at("commit", self.committer.commit(commits)).await
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        at("find_by_key", lookup::find_by_key(self.database.reader(), workflow, key)).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        at("definition", lookup::definition(self.database.reader(), fingerprint)).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        at("history", history::history(self.database.reader(), id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        at("list", list::list(self.database.reader(), filter)).await
    }
}

#[async_trait]
impl Store for SeaOrmStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        let (database, request) = (Arc::clone(&self.database), request.clone());
        let leases = |claims: &Claims| claims.claims.iter().map(|claim| claim.lease.clone()).collect();
        at("claim", self.claimed(async move { claim::claim(&database, &request).await }, leases)).await
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        let (database, keys) = (Arc::clone(&self.database), keys.to_vec());
        let lease_of = |claim: &SingleClaim| match claim {
            SingleClaim::Claimed(claim) => Some(claim.lease.clone()),
            _ => None,
        };
        let leases = move |claims: &Vec<SingleClaim>| claims.iter().filter_map(lease_of).collect();
        at(
            "claim_keys",
            self.claimed(async move { claim_keys::claim_keys(&database, &keys, token, lease).await }, leases),
        )
        .await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        at("due", due::due(&self.database, request)).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let (database, leases) = (Arc::clone(&self.database), leases.to_vec());
        at("extend", undisturbed("extending leases", async move { lease::extend(&database, &leases, lease).await }))
            .await
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        let (database, leases) = (Arc::clone(&self.database), leases.to_vec());
        at("release", undisturbed("giving work back", async move { lease::release(&database, &leases, delay).await }))
            .await
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        at("triggers", triggers::triggers(&self.database, workflows)).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        let (database, record) = (Arc::clone(&self.database), record.clone());
        at(
            "put_trigger",
            undisturbed("writing a cron trigger", async move { triggers::put_trigger(&database, &record).await }),
        )
        .await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        at("stranded", stranded::stranded(&self.database, request)).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, StoreError> {
        let (database, request) = (Arc::clone(&self.database), request.clone());
        at("prune", undisturbed("pruning runs", async move { prune::prune(&database, &request).await })).await
    }

    /// On Postgres, and on an SQLite file in a directory that can be seen. Until the first call nobody listens.
    async fn work_committed(&self) {
        self.news.hear().await;
    }

    /// On Postgres, ten times a second at most.
    fn tell_of_work(&self) {
        self.news.tell();
    }

    fn hears_of_work(&self) -> bool {
        self.news.hears()
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        Some(TransactionType::of::<DatabaseTransaction>())
    }

    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<Transacted, StoreError> {
        at("transact", undisturbed("carrying out a step in a transaction", transact(Arc::clone(&self.database), body)))
            .await
    }
}
