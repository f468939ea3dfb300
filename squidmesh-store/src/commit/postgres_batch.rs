//! Writes a batch of commits on Postgres: one statement, independent of the number of commits, that is a
//! transaction of its own.
//!
//! Knows the tables and the lock order. Knows nothing of waiting, retrying, or of who opened a transaction around
//! it.
//!
//! The runs come first: changing a run's row takes its lock and checks its revision, and everything else is
//! written only for runs that passed. The whole statement sees the tables as they were when it began. An intent
//! that a heartbeat or a claim moves at that moment is found at its old location and cannot be deleted from there.
//! The statement therefore counts the rows that it found and those that it changed. If the counts differ, it
//! aborts itself in the only way that plain SQL has: it divides by zero.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::RunId;
use squidmesh_core::definition::Fingerprint;
use squidmesh_core::port::CommitOutcome;

use super::abort::{Abort, Answer};
use super::changes::{CHANGE_RUN, CHANGE_STEP_RUN, PUT_INTENT, REPIN_INTENT, REPLACE_INTENT};
use super::encoded_commit::{EncodedCommit, changed_runs, rows, started_runs};
use super::key_owners::{Key, key_owners, refusal};
use crate::claim::held::{WhenLocked, lock_held};
use crate::clock::StoreClock;
use crate::epoch::IN_THIS_EPOCH;
use crate::error::{DIVISION_BY_ZERO, failed, has_code};
use crate::rows::{
    ATTEMPT_COLUMNS, AUDIT_COLUMNS, CHANGED_RUN, CHANGED_STEP_RUN, DEFINITION_COLUMNS, HELD_INTENT, INTENT_COLUMNS,
    NEW_INTENT, REMOVED_INTENT, REPINNED_INTENT, RUN_COLUMNS, STEP_RUN_COLUMNS, lease_to_row,
};
use crate::sql::{Column, Row, Sql, fixed, names};

/// Sets how long a statement of the store's own waits for a row lock: briefly, because many commits wait together
/// with the blocked one. It is set in the query that supplies the run rows, so that it applies before the first of
/// them is locked, and only to this transaction.
const LOCK_TIMEOUT: &str = "lock_timeout AS MATERIALIZED (SELECT set_config('lock_timeout', '250ms', true)), ";

/// The transaction in which a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// The statement's own.
    Own,
    /// The host's, whose own lock timeout applies, and which a failed statement would end. A start of a version that is
    /// assumed to be stored, and is not, is rejected there like one whose run exists.
    Hosts,
}

/// Restricts rows to the runs whose own row was written.
const APPLIED: &str = "IN (SELECT id FROM applied)";

/// Writes commits of different runs: all of those whose run is as they expect, or none. Returns the result for each
/// commit, in order.
///
/// Without an error, the matching commits are written, even if the results of the rejected ones are errors.
pub(crate) async fn write<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    known: &HashSet<Fingerprint>,
    commits: &[&EncodedCommit],
    within: Within,
) -> Result<Vec<Answer>, Abort> {
    let statement = statement(Sql::on(connection), clock, known, commits, within)?;
    let applied = match statement.fetch(connection).await {
        Ok(applied) => applied,
        Err(error) if has_code(&error, DIVISION_BY_ZERO) => return Err(Abort::Retry),
        Err(error) => return Err(error.into()),
    };
    let applied: HashSet<RunId> = applied.iter().map(id_of).collect::<Result<_, _>>()?;
    let refused = commits.iter().filter(|commit| !applied.contains(&commit.run_id));
    let keys: Vec<&Key> = refused.filter_map(|commit| commit.key()).collect();
    let owners = key_owners(connection, &keys).await;
    Ok(commits.iter().map(|commit| answer(commit, &applied, &owners)).collect())
}

fn id_of(row: &QueryResult) -> Result<RunId, DbErr> {
    row.try_get_by::<Uuid, _>("id").map(RunId::from_uuid)
}

/// Returns the result of one commit. The batch is already written: a failed look-up of key owners affects only the
/// commits that were rejected.
fn answer(commit: &EncodedCommit, applied: &HashSet<RunId>, owners: &Result<HashMap<Key, RunId>, DbErr>) -> Answer {
    if applied.contains(&commit.run_id) {
        return Ok(CommitOutcome::Committed);
    }
    if commit.key().is_none() {
        return Ok(CommitOutcome::Conflict);
    }
    let owners = owners.as_ref().map_err(|error| failed("looking up an idempotency key")(error.clone()))?;
    Ok(refusal(commit.run_id, commit.key(), owners))
}

/// The length of most statements, in bytes.
const TEXT: usize = 8 << 10;

/// A statement under construction: its SQL so far, and the checks to make at the end.
struct BatchStatement {
    sql: Sql,
    checks: Vec<String>,
}

pub(crate) fn statement(
    sql: Sql,
    clock: &StoreClock,
    known: &HashSet<Fingerprint>,
    commits: &[&EncodedCommit],
    within: Within,
) -> Result<Sql, DbErr> {
    // A commit alone is one whose latency counts. Batches keep to arrays, so that few statements serve all of them.
    let sql = sql.with_room(TEXT).with_plain_rows(commits.len() == 1).push("WITH ");
    let batch = BatchStatement { sql, checks: Vec::new() }.runs(commits, known, within);
    let batch = batch.definitions(known, commits, within)?;
    // Every transaction that locks rows of several runs does so in the order of the runs.
    let mut commits = commits.to_vec();
    commits.sort_by_key(|commit| commit.run_id);
    let commits = &*commits;
    let steps = rows(commits, |commit| &commit.created_steps);
    let attempts = rows(commits, |commit| &commit.attempts);
    let audit = rows(commits, |commit| &commit.audit);
    let batch = batch
        .insert("new_steps", "squidmesh_step_runs", STEP_RUN_COLUMNS, &steps)
        .change_steps(&rows(commits, |commit| &commit.changed_steps))
        .insert("new_attempts", "squidmesh_attempts", ATTEMPT_COLUMNS, &attempts)
        .remove_intents(&rows(commits, |commit| &commit.removed_intents))
        .hold_fences(commits)
        .put_intents("added_intents", clock, &rows(commits, |commit| &commit.added_intents), "DO NOTHING")
        .put_intents("replaced_intents", clock, &rows(commits, |commit| &commit.replaced_intents), REPLACE_INTENT)
        .repin_intents(&rows(commits, |commit| &commit.repinned_intents))
        .insert("new_audit", "squidmesh_audit", AUDIT_COLUMNS, &audit);
    let BatchStatement { sql, checks } = batch;
    if checks.is_empty() {
        return Ok(sql.push(&format!(" SELECT id FROM applied WHERE {IN_THIS_EPOCH}")));
    }
    let whole = checks.join(" AND ");
    Ok(sql.push(&format!(
        " SELECT id, 1 / CASE WHEN {whole} THEN 1 ELSE 0 END AS whole FROM applied WHERE {IN_THIS_EPOCH}"
    )))
}

impl BatchStatement {
    fn push(mut self, text: &str) -> Self {
        self.sql = self.sql.push(text);
        self
    }

    /// Adds `, name(columns) AS (list of rows)`.
    fn list(mut self, name: &str, columns: &[Column], rows: &[&Row]) -> Self {
        self.sql = self.sql.push(", ").list_of(name, columns, rows);
        self
    }

    fn check(mut self, check: String) -> Self {
        self.checks.push(check);
        self
    }

    fn runs(mut self, commits: &[&EncodedCommit], known: &HashSet<Fingerprint>, within: Within) -> Self {
        let (lock_timeout, of_changes, of_starts) = match within {
            Within::Own => (LOCK_TIMEOUT, "lock_timeout CROSS JOIN run_changes", " CROSS JOIN lock_timeout"),
            Within::Hosts => ("", "run_changes", ""),
        };
        self = self.push(lock_timeout);
        let (changed, started) = (changed_runs(commits), started_runs(commits));
        let mut applied = Vec::new();
        if !changed.is_empty() {
            self.sql = self
                .sql
                .list_of("run_changes", CHANGED_RUN, &changed)
                .push(&format!(", changed_runs AS ({CHANGE_RUN}"))
                .join_list(of_changes, "squidmesh_runs", "id = run AND revision = expected")
                .push(" AND revision = expected RETURNING id), ");
            applied.push("SELECT id FROM changed_runs");
        }
        if !started.is_empty() {
            self.sql =
                self.sql.push("started_runs AS (").insert("squidmesh_runs", RUN_COLUMNS, &started).push(of_starts);
            if within == Within::Hosts {
                let assumed =
                    commits.iter().filter_map(|commit| commit.version()).find(|version| known.contains(version));
                self = self.if_stored(assumed);
            }
            self.sql = self.sql.push(" ON CONFLICT DO NOTHING RETURNING id), ");
            applied.push("SELECT id FROM started_runs");
        }
        self.push(&format!("applied AS MATERIALIZED ({})", applied.join(" UNION ALL ")))
    }

    /// Adds the condition that a version is stored.
    fn if_stored(mut self, version: Option<&Fingerprint>) -> Self {
        if let Some(version) = version {
            let stored = self.sql.push(" WHERE EXISTS (SELECT 1 FROM squidmesh_definitions WHERE fingerprint = ");
            self.sql = stored.bind(version.to_string()).push(")");
        }
        self
    }

    /// Writes definitions, which are identified by their content: the first one stays, and all writers use the
    /// same order. Definitions that are known to be stored are looked up all the same, because the database may
    /// have been restored to an earlier state.
    fn definitions(
        mut self,
        known: &HashSet<Fingerprint>,
        commits: &[&EncodedCommit],
        within: Within,
    ) -> Result<Self, DbErr> {
        let (mut new, mut assumed) = (BTreeMap::new(), BTreeSet::new());
        let mut users: Vec<Row> = Vec::new();
        for commit in commits {
            let Some(version) = commit.version() else { continue };
            if known.contains(version) {
                // A start in a transaction of the host has it as a condition.
                if within == Within::Own || !commit.is_start() {
                    assumed.insert(*version);
                }
                continue;
            }
            users.push(vec![version.to_string().into(), commit.run_id.as_uuid().into()]);
            if !new.contains_key(version) {
                new.extend(commit.definition_row()?.map(|row| (*version, row)));
            }
        }
        if !assumed.is_empty() {
            let rows: Vec<Row> = assumed.iter().map(|version| vec![version.to_string().into()]).collect();
            self = self.list("known_versions", &[fixed("known_version")], &rows.iter().collect::<Vec<_>>()).check(
                "(SELECT count(*) FROM known_versions) = (SELECT count(*) FROM known_versions CROSS JOIN LATERAL \
                 (SELECT 1 FROM squidmesh_definitions WHERE fingerprint = known_version OFFSET 0) AS stored)"
                    .to_owned(),
            );
        }
        if new.is_empty() {
            return Ok(self);
        }
        self = self.list("version_users", &[fixed("version"), fixed("used_by")], &users.iter().collect::<Vec<_>>());
        let rows: Vec<&Row> = new.values().collect();
        self.sql = self
            .sql
            .push(", new_definitions AS (")
            .insert("squidmesh_definitions", DEFINITION_COLUMNS, &rows)
            .push(&format!(" WHERE fingerprint IN (SELECT version FROM version_users WHERE used_by {APPLIED})"))
            .push(" ON CONFLICT DO NOTHING)");
        Ok(self)
    }

    fn insert(mut self, part: &str, table: &str, columns: &[Column], rows: &[&Row]) -> Self {
        if !rows.is_empty() {
            self.sql = self
                .sql
                .push(&format!(", {part} AS ("))
                .insert(table, columns, rows)
                .push(&format!(" WHERE run_id {APPLIED})"));
        }
        self
    }

    fn change_steps(mut self, rows: &[&Row]) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list("step_changes", CHANGED_STEP_RUN, rows);
        self.sql = self
            .sql
            .push(&format!(", changed_steps AS ({CHANGE_STEP_RUN}"))
            .join_list("step_changes", "squidmesh_step_runs", "run_id = run AND step = name")
            .push(&format!(" AND run {APPLIED} RETURNING 1)"));
        self.check(format!(
            "(SELECT count(*) FROM changed_steps) = (SELECT count(*) FROM step_changes WHERE run {APPLIED})"
        ))
    }

    /// Removes intents, and checks the fences that are on them.
    fn remove_intents(mut self, rows: &[&Row]) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list("removed_intents", REMOVED_INTENT, rows);
        self.sql = self
            .sql
            .push(", matched AS MATERIALIZED (SELECT token, lease, row_ctid FROM removed_intents CROSS JOIN LATERAL ")
            .push(
                "(SELECT lease, ctid AS row_ctid FROM squidmesh_intents WHERE run_id = run AND step = name OFFSET 0) ",
            )
            .push("AS intent ")
            .push(&format!("WHERE run {APPLIED}), "))
            .push("deleted AS (DELETE FROM squidmesh_intents USING matched WHERE squidmesh_intents.ctid = row_ctid ")
            .push("RETURNING 1)");
        self.check("(SELECT count(*) FROM deleted) = (SELECT count(*) FROM matched)".to_owned()).check(format!(
            "(SELECT count(*) FROM matched WHERE lease = token) = \
             (SELECT count(*) FROM removed_intents WHERE token IS NOT NULL AND run {APPLIED})"
        ))
    }

    /// Checks the other fences, and locks their intents so that they cannot be taken over.
    fn hold_fences(mut self, commits: &[&EncodedCommit]) -> Self {
        let fences: Vec<Row> = commits.iter().flat_map(|commit| &commit.held).map(lease_to_row).collect();
        if fences.is_empty() {
            return self;
        }
        self = self.list("fences", HELD_INTENT, &fences.iter().collect::<Vec<_>>());
        self.push(&format!(
            ", held AS MATERIALIZED (SELECT run FROM fences CROSS JOIN LATERAL (SELECT lease FROM squidmesh_intents \
             WHERE run_id = run AND step = name AND lease = token FOR UPDATE) AS intent WHERE run {APPLIED})"
        ))
        .check(format!("(SELECT count(*) FROM held) = (SELECT count(*) FROM fences WHERE run {APPLIED})"))
    }

    fn put_intents(mut self, list: &str, clock: &StoreClock, rows: &[&Row], on_conflict: &str) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list(list, NEW_INTENT, rows);
        let columns = names(INTENT_COLUMNS);
        let insert = format!(", put_{list} AS (INSERT INTO squidmesh_intents ({columns}) SELECT {PUT_INTENT}");
        self.sql = clock.now(self.sql.push(&insert));
        self.push(&format!(" FROM {list} WHERE run {APPLIED} ON CONFLICT {on_conflict})"))
    }

    /// Moves intents to another version. Their leases stay valid.
    fn repin_intents(mut self, rows: &[&Row]) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list("repinned_intents", REPINNED_INTENT, rows);
        self.push(&format!(
            ", to_repin AS MATERIALIZED (SELECT new_queue, new_priority, new_version, row_ctid FROM repinned_intents \
             CROSS JOIN LATERAL (SELECT ctid AS row_ctid FROM squidmesh_intents WHERE run_id = run AND step = name \
             OFFSET 0) AS intent WHERE run {APPLIED}), \
             repinned AS ({REPIN_INTENT} FROM to_repin WHERE squidmesh_intents.ctid = row_ctid RETURNING 1)"
        ))
        .check("(SELECT count(*) FROM repinned) = (SELECT count(*) FROM to_repin)".to_owned())
    }
}

/// Returns the commits' runs that another transaction has locked, after a batch timed out on a lock. Does not wait
/// for locks.
pub(super) async fn locked<C: ConnectionTrait>(
    connection: &C,
    commits: &[&EncodedCommit],
) -> Result<HashSet<RunId>, DbErr> {
    let ids = || commits.iter().filter(|commit| !commit.is_start()).map(|commit| commit.run_id);
    let find = Sql::on(connection).push("SELECT id FROM squidmesh_runs WHERE id");
    let find = find.one_of(ids().map(|id| id.as_uuid()).collect::<Vec<_>>());
    // The lock that a change takes, and not a stronger one: a foreign key that a host's table has to the run does
    // not conflict with it.
    let free = find.push(" FOR NO KEY UPDATE SKIP LOCKED").fetch(connection).await?;
    let free: HashSet<RunId> = free.iter().map(id_of).collect::<Result<_, _>>()?;
    Ok(ids().filter(|id| !free.contains(id)).collect())
}

/// Returns the indexes of the commits whose claims are lost, after a batch aborted itself.
pub(crate) async fn lost_claims<C: ConnectionTrait>(
    connection: &C,
    commits: &[&EncodedCommit],
) -> Result<Vec<usize>, DbErr> {
    let fences: Vec<Row> = commits.iter().flat_map(|commit| &commit.fences).map(lease_to_row).collect();
    let held = lock_held(connection, &fences, WhenLocked::Wait).await?;
    let is_lost = |commit: &&EncodedCommit| commit.fences.iter().any(|fence| !held.contains(fence));
    Ok(commits.iter().enumerate().filter(|(_, commit)| is_lost(commit)).map(|(index, _)| index).collect())
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnAcquireErr, DbErr};
    use squidmesh_core::port::StoreError;
    use squidmesh_core::testing::sample;

    use super::*;

    #[test]
    fn what_is_written_stays_written_when_the_owner_of_a_key_cannot_be_found_out() -> Result<(), StoreError> {
        let keyed = |number| {
            let mut commit = sample::start(number);
            commit.run.idempotency_key = Some("key".to_owned());
            EncodedCommit::encode(&commit)
        };
        let (written, refused) = (keyed(1)?, keyed(2)?);
        let applied = HashSet::from([written.run_id]);
        let away = Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        assert!(matches!(answer(&written, &applied, &away), Ok(CommitOutcome::Committed)));
        assert!(matches!(answer(&refused, &applied, &away), Err(StoreError::Unavailable { .. })));
        let found = Ok(HashMap::from([(("sample".to_owned(), "other".to_owned()), written.run_id)]));
        assert!(matches!(answer(&refused, &applied, &found), Ok(CommitOutcome::Conflict)));
        Ok(())
    }
}
