//! The store port: stores all runtime state atomically.
//!
//! Speaks of runs, commits and claims; knows no SQL, connection or row.
//!
#![doc = include_str!("../../docs/custom-store.md")]
//! ```
#![doc = include_str!("../../docs/custom_store.rs")]
//! ```

use std::time::Duration;

use async_trait::async_trait;

use super::{
    ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, DuePage, DueRequest, Heartbeats, LeaseState, PruneBatch,
    PruneRequest, StoreError, StoreSession, StrandedRequest, TransactionBody, TransactionOutcome, TransactionType,
    TriggerRecords,
};
use crate::dispatch::Lease;
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::schedule::TriggerRecord;

/// The store: a [`StoreSession`] of its own, plus what workers need.
///
/// The store's clock alone decides whether an intent is due and whether a lease has expired.
#[async_trait]
pub trait Store: StoreSession + 'static {
    /// Claims due intents and loads their runs, except those that the claimer has cached. An intent is due when its
    /// delay has passed, or when its lease has expired and the request's [`takeover`](ClaimRequest::takeover) allows
    /// taking it over. Expired leases come first, so that a dead worker's intents do not wait behind a backlog; then
    /// higher priorities; then the longest due. No intent is given to two claimers.
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError>;

    /// Claims the given intents if they are due, like [`claim`](Store::claim), and returns one result per key, in
    /// order. A key given twice is claimed once; the second result is [`Held`](ClaimResult::Held).
    async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError>;

    /// Lists due intents without claiming them, in the order in which they would be claimed, page by page. An intent
    /// claimed by a worker between two pages may appear on either or on none; every other intent appears.
    async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError>;

    /// Extends leases to `lease` from now. Returns, for each, whether it is still held (expired or not) and the
    /// status of its run. An empty list still checks that leases could be extended: it fails if the store is
    /// unavailable.
    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError>;

    /// Opens dedicated connections for heartbeats to extend leases with. Called on the thread and in the async
    /// runtime that the heartbeats run in, which may not be the one the store was opened in, and called again after a
    /// failure. `None`, the default, means that [`extend_leases`](Store::extend_leases) works from anywhere:
    /// heartbeats call that instead.
    ///
    /// # Errors
    /// [`StoreError`]: heartbeats call [`extend_leases`](Store::extend_leases) until opening succeeds.
    async fn heartbeats(&self) -> Result<Option<Box<dyn Heartbeats>>, StoreError> {
        Ok(None)
    }

    /// Releases claimed intents; they are due again after `delay`. Intents that are no longer held are left
    /// unchanged.
    async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError>;

    /// Returns the stored records of these workflows' cron triggers, and the time by the store's clock, which decides
    /// what is due.
    ///
    /// # Errors
    /// [`StoreError`]. A record that cannot be read is listed in [`TriggerRecords::unreadable`], not omitted.
    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError>;

    /// Writes the record of a cron trigger if the stored record is at the revision before it (for revision 1: if no
    /// record is stored), and returns whether it was written. If several processes write the same revision at once,
    /// one succeeds.
    ///
    /// # Errors
    /// [`StoreError`]: the record may have been written; read it again.
    async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError>;

    /// Lists runs with an intent that has been due, or whose lease has been expired, for `due_for`, and that none of
    /// the known versions can execute. Lists each run once, in the order of ids; claims nothing.
    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError>;

    /// Identifies the database: a short text of letters, digits and hyphens that is the same for all processes on
    /// this database and differs on every other. Executors use it to keep the queues of different databases apart.
    /// `None`, the default, means that the store cannot identify its database, and hosts keep the queues apart
    /// themselves.
    ///
    /// # Errors
    /// [`StoreError`]: it is called again later.
    async fn identity(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Completes when another process may have committed work that is due. A store without notifications never
    /// completes it: callers poll as well.
    async fn work_notified(&self);

    /// Notifies other processes, and other handles in this one, that there may be work for them: their
    /// [`work_notified`](Store::work_notified) completes. Called after every commit that leaves work unclaimed; the
    /// store itself limits how often it notifies. Never blocks. Polling finds the work of lost notifications. A
    /// store that cannot notify, or that notifies as it commits, does nothing here.
    fn notify_work(&self) {}

    /// Returns whether [`work_notified`](Store::work_notified) currently completes for every notification of other
    /// processes, so that occasional polling for lost ones suffices.
    fn is_listening(&self) -> bool {
        false
    }

    /// Deletes a batch of ended runs with their step runs, attempts and audit trails; each run completely or not at
    /// all. Keeps a run while an intent of it is stored, while an unfinished run was replayed or resumed from it, and
    /// while the run that it was resumed from is stored. Frees their idempotency keys; keeps versions. Several
    /// processes may prune at once: each run is deleted, and counted, by one of them; runs that another process is
    /// working on are skipped.
    ///
    /// A batch bounds all that it reads and writes, so it may find fewer runs than the limit, or none, without being
    /// the last.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was deleted; with [`StoreError::OutcomeUnknown`], the batch may have been. A store
    /// without pruning returns [`StoreError::Unsupported`].
    async fn prune(&self, request: &PruneRequest) -> Result<PruneBatch, StoreError> {
        let _ = request;
        Err(StoreError::Unsupported { capability: "delete ended runs" })
    }

    /// Bounds the calls of this store well within leases of this length, so that no lease expires during a single
    /// call. Called by each runtime built on the store; the shortest lease counts.
    ///
    /// # Errors
    /// A text that states the problem and the remedy, for example if the host configured a longer bound.
    fn bound_calls(&self, lease: Duration) -> Result<(), String> {
        let _ = lease;
        Ok(())
    }

    /// Returns the type of the transactions that [`transact`](Store::transact) lends; `None` if it lends none. Never
    /// changes.
    fn transaction_type(&self) -> Option<TransactionType> {
        None
    }

    /// Opens a transaction, runs the body in it, and ends it as the body requests. The writes of the body, through
    /// the lent transaction and through the session, take effect together or not at all. The session applies commits
    /// as the store itself does: each completely or not at all, checked against precondition and fences.
    ///
    /// Nothing is left half done if the caller drops the future or the body panics: the transaction ends as the body
    /// requested, or is rolled back.
    ///
    /// # Errors
    /// Nothing was changed; with [`StoreError::OutcomeUnknown`], everything may have been.
    /// [`StoreError::Unavailable`] may be returned before or after the body ran. [`StoreError::Refused`] means that
    /// the database does not commit the body's writes, for example because a deferred constraint failed or the
    /// handler ended the transaction itself. A store that lends no transactions returns [`StoreError::Unsupported`].
    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<TransactionOutcome, StoreError> {
        drop(body);
        Err(StoreError::Unsupported { capability: "lend its transactions to steps" })
    }
}
