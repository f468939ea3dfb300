//! Writes a batch of commits on SQLite: a few statements in an open transaction or savepoint, independent of the
//! number of commits.
//!
//! The run's row comes first: writing it checks the revision, so that the rest cannot conflict. Knows nothing of who
//! opened the transaction; its owner rolls back on an [`Abort`].

use std::collections::{BTreeMap, HashSet};

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::RunId;
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::CommitOutcome;

use super::abort::{Abort, Answer};
use super::changes::{CHANGE_RUN, CHANGE_STEP_RUN, PUT_INTENT, REPIN_INTENT, REPLACE_INTENT};
use super::encoded_commit::{EncodedCommit, changed_runs, rows, started_runs};
use super::key_owners::{Key, key_owners, refusal};
use crate::claim::held::{held_leases, read_held};
use crate::clock::StoreClock;
use crate::epoch::IN_THIS_EPOCH;
use crate::rows::{
    ATTEMPT_COLUMNS, AUDIT_COLUMNS, CHANGED_RUN, CHANGED_STEP_RUN, DEFINITION_COLUMNS, INTENT_COLUMNS, NEW_INTENT,
    REMOVED_INTENT, REPINNED_INTENT, RUN_COLUMNS, STEP_RUN_COLUMNS, lease_to_row,
};
use crate::sql::{Row, Sql, execute_chunks, fetch_chunks, names};

/// Writes commits of different runs within an open transaction. Returns the result for each, in order; commits
/// that conflict write nothing.
pub(crate) async fn write<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    commits: &[&EncodedCommit],
) -> Result<Vec<Answer>, Abort> {
    let mut outcomes = vec![CommitOutcome::Committed; commits.len()];
    let missing = insert_runs(connection, commits, &mut outcomes).await?;
    change_runs(connection, commits, &mut outcomes).await?;

    let mut written: Vec<(usize, &EncodedCommit)> = commits
        .iter()
        .copied()
        .enumerate()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == CommitOutcome::Committed)
        .map(|(indexed, _)| indexed)
        .collect();
    written.sort_by_key(|(_, commit)| commit.run_id);
    write_definitions(connection, &missing, &written).await?;
    let wrote: Vec<&EncodedCommit> = written.iter().map(|(_, commit)| *commit).collect();
    write_steps(connection, &wrote).await?;
    let attempts = rows(&wrote, |commit| &commit.attempts);
    execute_chunks(connection, &attempts, |sql, rows| sql.insert("squidmesh_attempts", ATTEMPT_COLUMNS, rows)).await?;
    write_intents(connection, clock, &written).await?;
    let audit = rows(&wrote, |commit| &commit.audit);
    execute_chunks(connection, &audit, |sql, rows| sql.insert("squidmesh_audit", AUDIT_COLUMNS, rows)).await?;
    Ok(outcomes.into_iter().map(Ok).collect())
}

/// Writes definitions, which are identified by their content: the first one stays, and all writers use the same
/// order. For started runs, only those that were found to be missing are written.
async fn write_definitions<C: ConnectionTrait>(
    connection: &C,
    missing: &HashSet<String>,
    commits: &[(usize, &EncodedCommit)],
) -> Result<(), DbErr> {
    let mut new = BTreeMap::new();
    for (_, commit) in commits {
        let Some(version) = commit.version() else { continue };
        let stored = commit.is_start() && !missing.contains(&version.to_string());
        if !stored && !new.contains_key(version) {
            new.extend(commit.definition_row()?.map(|row| (*version, row)));
        }
    }
    let new: Vec<&Row> = new.values().collect();
    execute_chunks(connection, &new, |sql, rows| {
        sql.insert("squidmesh_definitions", DEFINITION_COLUMNS, rows).push(" ON CONFLICT DO NOTHING")
    })
    .await?;
    Ok(())
}

/// Inserts runs, and returns the versions that they are pinned to and that are not stored.
async fn insert_runs<C: ConnectionTrait>(
    connection: &C,
    commits: &[&EncodedCommit],
    outcomes: &mut [CommitOutcome],
) -> Result<HashSet<String>, DbErr> {
    let rows = started_runs(commits);
    let insert = |sql: Sql, rows: &[&Row]| {
        sql.insert("squidmesh_runs", RUN_COLUMNS, rows).push(INSERTED_RUN).push(IN_THIS_EPOCH).push(" AS current")
    };
    let inserted = fetch_chunks(connection, &rows, insert).await?;
    let missing: Vec<Option<String>> =
        inserted.iter().map(|row| row.try_get_by("missing")).collect::<Result<_, DbErr>>()?;
    let inserted = ids(&inserted)?;
    let refused = |commit: &EncodedCommit| commit.is_start() && !inserted.contains(&commit.run_id);
    let refused: Vec<_> = commits.iter().zip(outcomes).filter(|(commit, _)| refused(commit)).collect();
    let keys: Vec<&Key> = refused.iter().filter_map(|(commit, _)| commit.key()).collect();
    let owners = key_owners(connection, &keys).await?;
    for (commit, outcome) in refused {
        *outcome = refusal(commit.run_id, commit.key(), &owners);
    }
    Ok(missing.into_iter().flatten().collect())
}

async fn change_runs<C: ConnectionTrait>(
    connection: &C,
    commits: &[&EncodedCommit],
    outcomes: &mut [CommitOutcome],
) -> Result<(), DbErr> {
    let rows = changed_runs(commits);
    let found = fetch_chunks(connection, &rows, |sql, rows| {
        sql.with_change(CHANGED_RUN, rows)
            .push(CHANGE_RUN)
            .push(&format!(" FROM change WHERE id = run AND revision = expected AND {IN_THIS_EPOCH} RETURNING id"))
    })
    .await?;
    let found = ids(&found)?;
    for (commit, outcome) in commits.iter().zip(outcomes) {
        if !commit.is_start() && !found.contains(&commit.run_id) {
            *outcome = CommitOutcome::Conflict;
        }
    }
    Ok(())
}

async fn write_steps<C: ConnectionTrait>(connection: &C, commits: &[&EncodedCommit]) -> Result<(), Abort> {
    let created = rows(commits, |commit| &commit.created_steps);
    execute_chunks(connection, &created, |sql, rows| sql.insert("squidmesh_step_runs", STEP_RUN_COLUMNS, rows)).await?;
    let changed = rows(commits, |commit| &commit.changed_steps);
    let found = execute_chunks(connection, &changed, |sql, rows| {
        sql.with_change(CHANGED_STEP_RUN, rows)
            .push(CHANGE_STEP_RUN)
            .push(" FROM change WHERE run_id = run AND step = name")
    })
    .await?;
    if usize::try_from(found) == Ok(changed.len()) { Ok(()) } else { Err(Abort::MissingStepRun) }
}

fn ids(rows: &[QueryResult]) -> Result<HashSet<RunId>, DbErr> {
    rows.iter().map(|row| row.try_get_by::<Uuid, _>("id").map(RunId::from_uuid)).collect()
}

/// Removes, adds and replaces intents, and checks the fences.
async fn write_intents<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    commits: &[(usize, &EncodedCommit)],
) -> Result<(), Abort> {
    let all: Vec<&EncodedCommit> = commits.iter().map(|(_, commit)| *commit).collect();
    let removed = remove_intents(connection, &rows(&all, |commit| &commit.removed_intents)).await?;
    let fences: Vec<Row> = all.iter().flat_map(|commit| &commit.held).map(lease_to_row).collect();
    let held = read_held(connection, &fences).await?;
    let fenced: Vec<usize> = commits
        .iter()
        .filter(|(_, commit)| commit.fences.iter().any(|fence| !removed.contains(fence) && !held.contains(fence)))
        .map(|(index, _)| *index)
        .collect();
    if !fenced.is_empty() {
        return Err(Abort::Fenced(fenced));
    }
    put_intents(connection, clock, &rows(&all, |commit| &commit.added_intents), "DO NOTHING").await?;
    put_intents(connection, clock, &rows(&all, |commit| &commit.replaced_intents), REPLACE_INTENT).await?;
    repin_intents(connection, &rows(&all, |commit| &commit.repinned_intents)).await?;
    Ok(())
}

/// Removes intents and returns the leases that they had: a fence among them was held until then.
async fn remove_intents<C: ConnectionTrait>(connection: &C, intents: &[&Row]) -> Result<HashSet<Lease>, DbErr> {
    let removed = fetch_chunks(connection, intents, |sql, rows| {
        sql.with_change(REMOVED_INTENT, rows)
            .push("DELETE FROM squidmesh_intents WHERE (run_id, step) IN (SELECT run, name FROM change) ")
            .push("RETURNING run_id, step, lease")
    })
    .await?;
    Ok(held_leases(&removed))
}

async fn put_intents<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    intents: &[&Row],
    on_conflict: &str,
) -> Result<(), DbErr> {
    execute_chunks(connection, intents, |sql, rows| {
        let sql = sql.with_change(NEW_INTENT, rows);
        let sql = sql.push("INSERT INTO squidmesh_intents (").push(&names(INTENT_COLUMNS)).push(")");
        let sql = sql.push(" SELECT ").push(PUT_INTENT);
        // The ON of ON CONFLICT would be parsed as that of a join without a preceding WHERE.
        clock.now(sql).push(" FROM change WHERE true ON CONFLICT ").push(on_conflict)
    })
    .await?;
    Ok(())
}

/// Moves intents to another version. Their leases stay valid.
async fn repin_intents<C: ConnectionTrait>(connection: &C, intents: &[&Row]) -> Result<(), DbErr> {
    execute_chunks(connection, intents, |sql, rows| {
        sql.with_change(REPINNED_INTENT, rows)
            .push(REPIN_INTENT)
            .push(" FROM change WHERE run_id = run AND step = name")
    })
    .await?;
    Ok(())
}

/// What an insert of a run returns on SQLite: its id, and its version if that is not stored.
const INSERTED_RUN: &str = " ON CONFLICT DO NOTHING RETURNING id, CASE WHEN NOT EXISTS (SELECT 1 FROM \
    squidmesh_definitions AS stored WHERE stored.fingerprint = squidmesh_runs.fingerprint) \
    THEN fingerprint END AS missing, ";
