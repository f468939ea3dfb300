//! Transactions that are lent to transactional steps: the host's work and the record of it commit together.
//!
//! Knows when a transaction begins and ends, and nothing of the work done in it.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use squidmesh_core::port::{StoreError, TransactionBody, TransactionEnd, TransactionOutcome};
use tokio::time::timeout;

use crate::crash_point::at;
use crate::database::Database;
use crate::error::{commit_failed, failed};
use crate::join::JoinedStore;
use crate::pool::calls::{no_answer, within};

const DOING: &str = "running a step in a transaction";

/// How long the answer waits for a rollback, which follows the pending statement of a handler that was cancelled.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a body in a transaction. Must be called in a task that is not cancelled.
pub(crate) async fn transact(
    database: Arc<Database>,
    mut body: Box<dyn TransactionBody>,
) -> Result<TransactionOutcome, StoreError> {
    let transaction = database.begin_for_host().await.map_err(failed(DOING))?;
    let end = match work(&database, &transaction, &mut *body).await {
        Ok(TransactionEnd::Commit) => {
            let session = JoinedStore::last(Arc::clone(&database), &transaction);
            match timeout(database.bounds.call(), body.record(&session)).await {
                Ok(end) => end,
                Err(_) => {
                    drop(session);
                    // This connection does not answer, so nothing is sent on it: its pool closes it.
                    drop(transaction);
                    return Err(failed(DOING)(no_answer()));
                }
            }
        }
        Ok(TransactionEnd::RollBack) => TransactionEnd::RollBack,
        Err(error) => {
            roll_back(transaction).await;
            return Err(failed(DOING)(error));
        }
    };
    match end {
        TransactionEnd::Commit => {
            let bound = database.bounds.call();
            at("transact.commit", async { within(bound, transaction.commit()).await.map_err(commit_failed) }).await?;
            Ok(TransactionOutcome::Committed)
        }
        TransactionEnd::RollBack => {
            roll_back(transaction).await;
            Ok(TransactionOutcome::RolledBack)
        }
    }
}

/// Runs the host's part. After an error, SQLite may end a transaction by itself, and would then write each
/// following statement by itself: the savepoint around the work is then gone, which is always detected. Postgres
/// rejects all following statements.
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

/// Rolls back in a task of its own, so that the rollback is never cut off. A failure is harmless: uncommitted work
/// is rolled back when its connection returns to the pool.
pub(crate) async fn roll_back(transaction: DatabaseTransaction) {
    let rolled_back = tokio::spawn(transaction.rollback());
    if timeout(ROLLBACK_TIMEOUT, rolled_back).await.is_err() {
        tracing::warn!("a transaction is still running a statement of the host while it is rolled back");
    }
}
