//! A session inside a transaction of the host: the same statements as the store's own, without group commit.
//!
//! Knows nothing of the host's other work in the transaction. Begins and ends nothing but savepoints of its own.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr};
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
use crate::savepoint::Savepoint;
use crate::sql::Sql;

const DOING: &str = "committing in a joined transaction";

/// A [`StoreSession`] inside a host's transaction. Created by [`SeaOrmStore::join`](crate::SeaOrmStore::join).
///
/// The result of a commit holds if the host commits. A commit that conflicts leaves the rest of the transaction
/// unchanged, and so does one that fails, except on Postgres the start of a run: if the database refuses it, the
/// transaction has failed, as after any other refused statement. A start whose future is dropped may take effect.
pub struct JoinedStore<'a> {
    database: Arc<Database>,
    transaction: &'a DatabaseTransaction,
    is_last: bool,
}

impl<'a> JoinedStore<'a> {
    pub(crate) fn new(database: Arc<Database>, transaction: &'a DatabaseTransaction) -> Self {
        JoinedStore { database, transaction, is_last: false }
    }

    /// Creates a session whose commit is the last change before the transaction ends.
    pub(crate) fn last(database: Arc<Database>, transaction: &'a DatabaseTransaction) -> Self {
        JoinedStore { database, transaction, is_last: true }
    }

    /// Returns the versions that need not be written in the host's transaction. A new one is written in a transaction of
    /// its own: otherwise all other starts of that version would wait for the host. A transaction that would not see it
    /// then, since it reads a snapshot, writes it itself.
    async fn known_definitions(
        &self,
        transaction: &DatabaseTransaction,
        commit: &EncodedCommit,
    ) -> Result<HashSet<Fingerprint>, DbErr> {
        let known = self.database.known_definitions();
        let Some(version) = commit.version().filter(|version| !known.contains(version)) else { return Ok(known) };
        let isolation = Sql::on(transaction).push("SELECT current_setting('transaction_isolation') AS isolation");
        let isolation = isolation.fetch(transaction).await?;
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
        if !self.database.is_sqlite() && commit.is_start() && commit.fences.is_empty() {
            self.start(commit).await
        } else {
            self.commit_after_savepoint(commit).await
        }
    }

    /// Starts a run on Postgres. It is one statement, and nothing that it depends on makes it fail, so it needs no
    /// savepoint.
    async fn start(&self, commit: &EncodedCommit) -> Result<CommitOutcome, StoreError> {
        let is_assumed = |known: &HashSet<_>| commit.version().is_some_and(|version| known.contains(version));
        let known = self.known_definitions(self.transaction, commit).await.map_err(failed(DOING))?;
        match self.write_start(&known, commit).await? {
            CommitOutcome::Conflict if is_assumed(&known) => {
                // The run exists, or the version is no longer stored.
                self.database.forget_definitions();
                let known = self.known_definitions(self.transaction, commit).await.map_err(failed(DOING))?;
                self.write_start(&known, commit).await
            }
            outcome => Ok(outcome),
        }
    }

    async fn write_start(
        &self,
        known: &HashSet<Fingerprint>,
        commit: &EncodedCommit,
    ) -> Result<CommitOutcome, StoreError> {
        let (transaction, clock) = (self.transaction, &self.database.clock);
        let written = postgres_batch::write(transaction, clock, known, &[commit], Within::Hosts).await;
        let answers = written.map_err(|abort| abort.to_error(commit.run_id))?;
        answers.into_iter().next().unwrap_or(Ok(CommitOutcome::Conflict))
    }

    async fn commit_after_savepoint(&self, commit: &EncodedCommit) -> Result<CommitOutcome, StoreError> {
        let doing = failed(DOING);
        let mut retries = 0;
        loop {
            let savepoint = if self.is_last {
                Savepoint::last(self.transaction).await
            } else {
                Savepoint::nested(self.transaction).await
            };
            let savepoint = savepoint.map_err(&doing)?;
            let (connection, clock) = (savepoint.connection(), &self.database.clock);
            let written = if self.database.is_sqlite() {
                sqlite_batch::write(connection, clock, &[commit]).await
            } else {
                let known = self.known_definitions(connection, commit).await.map_err(&doing)?;
                postgres_batch::write(connection, clock, &known, &[commit], Within::Hosts).await
            };
            let abort = match written {
                Ok(answers) => {
                    let outcome = answers.into_iter().next().unwrap_or(Ok(CommitOutcome::Conflict))?;
                    savepoint.keep().await.map_err(&doing)?;
                    return Ok(outcome);
                }
                Err(abort) => abort,
            };
            savepoint.undo().await.map_err(&doing)?;
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
