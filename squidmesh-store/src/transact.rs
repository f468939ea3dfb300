//! Transactions that are lent to transactional steps: the host's work and what is recorded of it commit together.
//!
//! Knows when a transaction begins and ends, and nothing of what is done in it.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use squidmesh_core::{StoreError, Transacted, TransactionBody, TransactionEnd};

use crate::crash_point::at;
use crate::database::Database;
use crate::error::{commit_failed, failed};
use crate::join::JoinedStore;

const DOING: &str = "carrying out a step in a transaction";

/// How long the answer waits for a rollback, which comes after the statement that a handler which was cut off had under way.
const ROLLBACK: Duration = Duration::from_secs(1);

/// Carries a body through a transaction. Call this in a task that is not cancelled.
pub(crate) async fn transact(
    database: Arc<Database>,
    mut body: Box<dyn TransactionBody>,
) -> Result<Transacted, StoreError> {
    let transaction = database.begin_for_host().await.map_err(failed(DOING))?;
    let end = match work(&database, &transaction, &mut *body).await {
        Ok(TransactionEnd::Commit) => body.record(&JoinedStore::new(Arc::clone(&database), &transaction)).await,
        Ok(TransactionEnd::RollBack) => TransactionEnd::RollBack,
        Err(error) => {
            roll_back(transaction).await;
            return Err(failed(DOING)(error));
        }
    };
    match end {
        TransactionEnd::Commit => {
            at("transact.commit", async { transaction.commit().await.map_err(commit_failed) }).await?;
            Ok(Transacted::Committed)
        }
        TransactionEnd::RollBack => {
            roll_back(transaction).await;
            Ok(Transacted::RolledBack)
        }
    }
}

/// The host's part. SQLite may end a transaction by itself after an error, and would then write each statement that follows by
/// itself: the savepoint around the work is gone then, which cannot be overlooked. Postgres refuses everything that follows.
async fn work(
    database: &Database,
    transaction: &DatabaseTransaction,
    body: &mut dyn TransactionBody,
) -> Result<TransactionEnd, DbErr> {
    if !database.is_sqlite() {
        return Ok(body.work(transaction as &(dyn Any + Send + Sync)).await);
    }
    let savepoint = transaction.begin().await?;
    let end = body.work(&savepoint as &(dyn Any + Send + Sync)).await;
    match end {
        TransactionEnd::Commit => savepoint.commit().await?,
        TransactionEnd::RollBack => savepoint.rollback().await?,
    }
    Ok(end)
}

/// Rolls back, in a task of its own so that it is never half done. Nothing is wrong if it fails: what is not committed is
/// rolled back when its connection returns to the pool.
async fn roll_back(transaction: DatabaseTransaction) {
    let rolled_back = tokio::spawn(transaction.rollback());
    if tokio::time::timeout(ROLLBACK, rolled_back).await.is_err() {
        tracing::warn!("a transaction that is rolled back still carries out a statement of its step");
    }
}
