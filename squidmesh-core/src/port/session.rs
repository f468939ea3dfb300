//! The operations on runs that a store offers by itself and inside a host's transaction.

use async_trait::async_trait;

use super::error::StoreError;
use super::history::RunHistory;
use super::listing::{RunFilter, RunPage};
use crate::commit::{Commit, CommitOutcome};
use crate::definition::{Definition, Fingerprint};
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::run::RunSnapshot;

/// The operations of a command: reading runs and committing changes. Implemented by a store, and by a session that has
/// joined a host's transaction.
#[async_trait]
pub trait StoreSession: Send + Sync {
    /// Returns the snapshot of a run, or `None` if there is no such run.
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError>;

    /// Applies each commit completely or not at all, in the given order, and returns one result per commit. A commit
    /// that conflicts or fails does not affect the others. Several commits may concern the same run, each expecting
    /// the revision that the previous one produces.
    ///
    /// A commit is applied only if the run is at the expected revision and the intent of each of its `fences` is
    /// still held under that token. Both are checked in the same atomic change as the writes. An expired lease that
    /// no process has taken over still counts as held: ownership is by token, never by time. If two commits of a
    /// batch conflict with each other, the earlier one wins. Creating a step run or an attempt that exists is a
    /// non-transient error of that commit.
    ///
    /// # Errors
    /// [`StoreError`] if the batch as a whole could not be tried. [`StoreError::OutcomeUnknown`] means that each
    /// commit may or may not have been applied: check the run's revision and token before retrying.
    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError>;

    /// Returns the run started under an idempotency key of a workflow. Keys are compared byte by byte.
    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError>;

    /// Returns a stored version of a workflow, or `None` if no run ever used it.
    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError>;

    /// Returns the attempts, audit trail and intents of a run; empty for an unknown run.
    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError>;

    /// Lists the runs that match, newest first (by id). A page shows the runs as they were at one moment, except inside a
    /// host's transaction that does not read a snapshot itself.
    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError>;
}
