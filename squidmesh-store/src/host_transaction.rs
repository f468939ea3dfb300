//! A transaction of the host with commands of the runtime in it, in the one order that is right.

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use squidmesh_core::Squidmesh;
use squidmesh_core::command::TransactionScope;
use squidmesh_core::port::StoreError;
use tracing::Instrument;

use crate::SeaOrmStore;
use crate::error::{commit_failed, failed};
use crate::pool::calls::within;
use crate::transact::roll_back;

impl SeaOrmStore {
    /// Runs `work` in a transaction that holds the host's own writes and commands of the runtime. If `work` returns
    /// `Ok`, commits them together, then emits the events and wakes the workers. If it returns an error, rolls both
    /// back. If the caller drops the future before the commit begins, the transaction is rolled back; a commit that
    /// has begun ends, and wakes the workers, even without the caller.
    ///
    /// ```
    /// use sea_orm::{ConnectionTrait, DbErr};
    /// use squidmesh_core::command::StartError;
    /// use squidmesh_core::port::StoreError;
    /// use squidmesh_core::{RunId, Squidmesh};
    /// use squidmesh_store::SeaOrmStore;
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum ShopError {
    ///     #[error(transparent)]
    ///     Start(#[from] StartError),
    ///     #[error(transparent)]
    ///     Store(#[from] StoreError),
    ///     #[error(transparent)]
    ///     Database(#[from] DbErr),
    /// }
    ///
    /// async fn place(store: &SeaOrmStore, mesh: &Squidmesh, order: &str) -> Result<RunId, ShopError> {
    ///     store
    ///         .transaction(mesh, async |transaction, mesh| {
    ///             let run = mesh.start_run("checkout", &serde_json::json!({ "order": order })).await?;
    ///             transaction.execute_unprepared("INSERT INTO orders (state) VALUES ('placed')").await?;
    ///             Ok(run.id)
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// On SQLite, the transaction takes the write lock at once, and every other write waits for it: keep it short, and
    /// call only the given scope of the runtime inside it, never the runtime itself, which would wait for the lock.
    ///
    /// # Errors
    /// The error of `work`; [`StoreError::Unavailable`] if the transaction cannot begin, or cannot be committed now;
    /// [`StoreError::Refused`] if the database refuses the commit, on Postgres also if a statement failed and `work`
    /// returned `Ok` all the same; [`StoreError::OutcomeUnknown`] if it is not known whether the commit took effect.
    pub async fn transaction<T, E>(
        &self,
        mesh: &Squidmesh,
        work: impl AsyncFnOnce(&DatabaseTransaction, &TransactionScope<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        let transaction = self.begin().await?;
        let (result, after) = {
            let session = self.join(&transaction);
            let scope = mesh.within(&session);
            let result = work(&transaction, &scope).await;
            (result, scope.into_after_commit())
        };
        match result {
            Ok(done) => {
                let (is_sqlite, bound) = (self.database().is_sqlite(), self.database().bounds.call());
                let commit = async move {
                    if !is_sqlite {
                        // Postgres answers COMMIT with a rollback, and without an error, if a statement has failed.
                        let asked = within(bound, transaction.execute_unprepared("SELECT 1")).await;
                        asked.map_err(failed("committing"))?;
                    }
                    within(bound, transaction.commit()).await.map_err(commit_failed)?;
                    after.committed();
                    Ok(())
                };
                let commit = tokio::spawn(commit.in_current_span());
                let unknown = |error| StoreError::OutcomeUnknown { source: Box::new(error) };
                commit.await.unwrap_or_else(|error| Err(unknown(error)))?;
                Ok(done)
            }
            Err(error) => {
                after.rolled_back();
                roll_back(transaction).await;
                Err(error)
            }
        }
    }
}
