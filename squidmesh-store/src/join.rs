//! A session inside a transaction of the host: the same statements as the store's own, without group commit.
//!
//! Knows nothing of the host's other work in the transaction. Begins and ends nothing but savepoints of its own.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use squidmesh_core::definition::{Definition, Fingerprint, WorkflowName};
use squidmesh_core::port::{Commit, CommitOutcome, RunHistory, RunPage, StoreError, StoreSession};
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::{RunFilter, RunId};

use crate::commit::postgres_batch::{self, Within, lost_claims};
use crate::commit::{Abort, EncodedCommit, MAX_RETRIES, sqlite_batch};
use crate::crash_point::at;
use crate::database::Database;
use crate::error::failed;
use crate::query::{history, list, load, lookup};
use crate::rows::DEFINITION_COLUMNS;
use crate::sql::Sql;

/// A [`StoreSession`] inside a host's transaction. Created by [`SeaOrmStore::join`](crate::SeaOrmStore::join).
///
/// The result of a commit holds if the host commits. A commit that conflicts or fails leaves the rest of the
/// transaction unchanged; the host may continue to use it.
pub struct JoinedStore<'a> {
    database: Arc<Database>,
    transaction: &'a DatabaseTransaction,
}

impl<'a> JoinedStore<'a> {
    pub(crate) fn new(database: Arc<Database>, transaction: &'a DatabaseTransaction) -> Self {
        JoinedStore { database, transaction }
    }

    /// Returns the versions that need not be written in the host's transaction. A new one is written in a transaction of
    /// its own: otherwise all other starts of that version would wait for the host. A transaction that would not see it
    /// then, since it reads a snapshot, writes it itself.
    async fn known_definitions(
        &self,
        savepoint: &DatabaseTransaction,
        commit: &EncodedCommit,
    ) -> Result<HashSet<Fingerprint>, DbErr> {
        let known = self.database.known_definitions();
        let Some(version) = commit.version().filter(|version| !known.contains(version)) else { return Ok(known) };
        let isolation = Sql::on(savepoint).push("SELECT current_setting('transaction_isolation') AS isolation");
        let isolation = isolation.fetch(savepoint).await?;
        let isolation: Option<String> = isolation.first().and_then(|row| row.try_get_by("isolation").ok());
        if isolation.as_deref() != Some("read committed") {
            return Ok(known);
        }
        let Some(row) = commit.definition_row()? else { return Ok(known) };
        let writer = self.database.writer();
        let sql = Sql::on(writer).insert("squidmesh_definitions", DEFINITION_COLUMNS, &[&row]);
        // Without a connection for it, the host's transaction writes it.
        if sql.push(" ON CONFLICT DO NOTHING").execute(writer).await.is_ok() {
            self.database.remember_definitions([*version]);
        }
        Ok(self.database.known_definitions())
    }

    async fn commit_one(&self, commit: &EncodedCommit) -> Result<CommitOutcome, StoreError> {
        let doing = failed("committing in a joined transaction");
        let mut retries = 0;
        loop {
            let savepoint = self.transaction.begin().await.map_err(&doing)?;
            let clock = &self.database.clock;
            let written = if self.database.is_sqlite() {
                sqlite_batch::write(&savepoint, clock, &[commit]).await
            } else {
                let known = self.known_definitions(&savepoint, commit).await.map_err(&doing)?;
                postgres_batch::write(&savepoint, clock, &known, &[commit], Within::Hosts).await
            };
            let abort = match written {
                Ok(answers) => {
                    let outcome = answers.into_iter().next().unwrap_or(Ok(CommitOutcome::Conflict))?;
                    savepoint.commit().await.map_err(&doing)?;
                    return Ok(outcome);
                }
                Err(abort) => abort,
            };
            savepoint.rollback().await.map_err(&doing)?;
            match abort {
                Abort::Fenced(_) => return Ok(CommitOutcome::Fenced),
                Abort::Retry if retries < MAX_RETRIES => {
                    retries += 1;
                    self.database.forget_definitions();
                    if !lost_claims(self.transaction, &[commit]).await.map_err(&doing)?.is_empty() {
                        return Ok(CommitOutcome::Fenced);
                    }
                }
                other => return Err(other.to_error(commit.run_id)),
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
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        at("joined.load", load::load(self.transaction, id)).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let mut answers = Vec::with_capacity(commits.len());
        for commit in &commits {
            answers.push(match EncodedCommit::encode(commit) {
                Ok(commit) => at("joined.commit", self.commit_one(&commit)).await,
                Err(error) => Err(error),
            });
        }
        Ok(answers)
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        at("joined.find_by_idempotency_key", lookup::find_by_idempotency_key(self.transaction, workflow, key)).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        at("joined.definition", lookup::definition(self.transaction, fingerprint)).await
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        at("joined.history", history::history(self.transaction, id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        at("joined.list", list::list(self.transaction, filter)).await
    }
}
