//! A session inside a transaction of the host: the same statements as the store's own, without group commit.
//!
//! Knows nothing of what else the host does in its transaction. Begins and ends nothing but savepoints of its own.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, TransactionTrait};
use squidmesh_core::{
    Commit, CommitOutcome, Definition, Fingerprint, History, RunFilter, RunId, RunPage, RunState, StoreError,
    StoreSession, WorkflowName,
};

use crate::apply::{Undo, apply};
use crate::crash_point::at;
use crate::database::Database;
use crate::error::failed;
use crate::member::Member;
use crate::wave::{self, UNSETTLED};
use crate::{history, list, load, lookup};

/// A [`StoreSession`] inside a host's transaction. Made by [`SeaOrmStore::join`](crate::SeaOrmStore::join).
///
/// What it answers for a commit holds if the host commits. A commit that conflicts or fails leaves the rest of the transaction
/// as it was; the host may go on.
pub struct JoinedStore<'a> {
    database: Arc<Database>,
    transaction: &'a DatabaseTransaction,
}

impl<'a> JoinedStore<'a> {
    pub(crate) fn new(database: Arc<Database>, transaction: &'a DatabaseTransaction) -> Self {
        JoinedStore { database, transaction }
    }

    async fn commit_one(&self, member: &Member) -> Result<CommitOutcome, StoreError> {
        let doing = failed("committing in a joined transaction");
        let known = self.database.known_definitions();
        let mut unsettled = 0;
        loop {
            let savepoint = self.transaction.begin().await.map_err(&doing)?;
            let undo = match apply(&savepoint, self.database.clock(), &known, &[member]).await {
                Ok(answers) => {
                    let outcome = answers.into_iter().next().unwrap_or(Ok(CommitOutcome::Conflict))?;
                    savepoint.commit().await.map_err(&doing)?;
                    return Ok(outcome);
                }
                Err(undo) => undo,
            };
            savepoint.rollback().await.map_err(&doing)?;
            match undo {
                Undo::Fenced(_) => return Ok(CommitOutcome::Fenced),
                Undo::Unsettled if unsettled < UNSETTLED => {
                    unsettled += 1;
                    if !wave::lost(self.transaction, &[member]).await.map_err(&doing)?.is_empty() {
                        return Ok(CommitOutcome::Fenced);
                    }
                }
                other => return Err(other.to_error(member.run_id)),
            }
        }
    }
}

impl fmt::Debug for JoinedStore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl StoreSession for JoinedStore<'_> {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        at("joined.load", load::load(self.transaction, id)).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let mut answers = Vec::with_capacity(commits.len());
        for commit in &commits {
            answers.push(match Member::encode(commit) {
                Ok(member) => at("joined.commit", self.commit_one(&member)).await,
                Err(error) => Err(error),
            });
        }
        Ok(answers)
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        at("joined.find_by_key", lookup::find_by_key(self.transaction, workflow, key)).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        at("joined.definition", lookup::definition(self.transaction, fingerprint)).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        at("joined.history", history::history(self.transaction, id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        at("joined.list", list::list(self.transaction, filter)).await
    }
}
