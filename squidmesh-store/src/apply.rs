//! Writes commits into an open transaction or savepoint: a handful of statements, however many commits there are.
//!
//! The run's row comes first: writing it takes its lock and checks the revision, so that what follows is undisputed. Then, in
//! the order in which everybody locks: definitions, step runs, attempts, intents, audit. Knows nothing of who opened the transaction;
//! whoever did undoes it when told to.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::{CommitOutcome, Fingerprint, RunId, StoreError};

use crate::clock::StoreClock;
use crate::columns::{Column, fixed, nullable};
use crate::error::{Fault, failed};
use crate::intents;
use crate::member::{Member, RunWrite};
use crate::rows::{ATTEMPT_COLUMNS, AUDIT_COLUMNS, DEFINITION_COLUMNS, RUN_COLUMNS, STEP_RUN_COLUMNS};
use crate::sql::{Row, execute_chunks, fetch_chunks};

/// Why what was written must be undone.
#[derive(Debug)]
pub(crate) enum Undo {
    /// These members, by their place, do not hold their intent any more. Without them the rest can be written.
    Fenced(Vec<usize>),
    /// There is no transaction: the database is away, or too busy to begin one.
    NotBegun(DbErr),
    /// The database failed.
    Database(DbErr),
    /// Something that a member changes is not there: one of them is wrong.
    Missing(&'static str),
}

impl From<DbErr> for Undo {
    fn from(error: DbErr) -> Self {
        Undo::Database(error)
    }
}

impl Undo {
    /// Whether it has nothing to do with any single member, so that there is no use in trying them one by one.
    pub(crate) fn strikes_all(&self) -> bool {
        match self {
            Undo::NotBegun(_) => true,
            Undo::Database(error) => Fault::of(error) == Fault::Connection,
            Undo::Fenced(_) | Undo::Missing(_) => false,
        }
    }

    /// The error of one member.
    pub(crate) fn to_error(&self, run: RunId) -> StoreError {
        match self {
            Undo::NotBegun(error) | Undo::Database(error) => failed("committing")(error.clone()),
            Undo::Missing(what) => StoreError::Corrupt {
                what: format!("run {run}"),
                reason: format!("a commit changes one of its {what}, which is not stored"),
            },
            Undo::Fenced(_) => StoreError::Corrupt {
                what: format!("run {run}"),
                reason: "the fence of a commit could not be told".to_owned(),
            },
        }
    }
}

/// Writes members of different runs. The outcome of each is its own, in their order; members that conflict write nothing.
pub(crate) async fn apply<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    known: &HashSet<Fingerprint>,
    members: &[&Member],
) -> Result<Vec<CommitOutcome>, Undo> {
    let mut outcomes = vec![CommitOutcome::Committed; members.len()];
    insert_runs(connection, members, &mut outcomes).await?;
    change_runs(connection, members, &mut outcomes).await?;

    let mut written: Vec<(usize, &Member)> = members
        .iter()
        .copied()
        .enumerate()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == CommitOutcome::Committed)
        .map(|(member, _)| member)
        .collect();
    written.sort_by_key(|(_, member)| member.run_id);
    write_definitions(connection, known, &written).await?;
    write_steps(connection, &written).await?;
    write_attempts(connection, &written).await?;
    intents::write(connection, clock, &written).await?;
    let audit = rows(&written, |member| &member.audit);
    execute_chunks(connection, &audit, |sql, rows| sql.insert("squidmesh_audit", AUDIT_COLUMNS, rows)).await?;
    Ok(outcomes)
}

/// The rows of one kind of all members.
pub(crate) fn rows<'a>(members: &[(usize, &'a Member)], of: impl Fn(&'a Member) -> &'a Vec<Row>) -> Vec<&'a Row> {
    members.iter().flat_map(|(_, member)| of(member)).collect()
}

/// Definitions go by their content: the first one stays, and whoever writes them takes the same order.
async fn write_definitions<C: ConnectionTrait>(
    connection: &C,
    known: &HashSet<Fingerprint>,
    members: &[(usize, &Member)],
) -> Result<(), DbErr> {
    let mut seen = BTreeSet::new();
    let mut new: Vec<&(Fingerprint, Row)> = members
        .iter()
        .filter_map(|(_, member)| member.definition.as_ref())
        .filter(|(fingerprint, _)| !known.contains(fingerprint) && seen.insert(*fingerprint))
        .collect();
    new.sort_by_key(|(fingerprint, _)| *fingerprint);
    let new: Vec<&Row> = new.into_iter().map(|(_, row)| row).collect();
    execute_chunks(connection, &new, |sql, rows| {
        sql.insert("squidmesh_definitions", DEFINITION_COLUMNS, rows).push(" ON CONFLICT DO NOTHING")
    })
    .await?;
    Ok(())
}

async fn insert_runs<C: ConnectionTrait>(
    connection: &C,
    members: &[&Member],
    outcomes: &mut [CommitOutcome],
) -> Result<(), DbErr> {
    let mut new = Vec::new();
    for (member, outcome) in members.iter().zip(outcomes) {
        if let RunWrite::Insert { row, key } = &member.run {
            new.push((key.as_ref(), row, member.run_id, outcome));
        }
    }
    // By key, so that two writers with the same keys cannot wait for each other; of equal keys the first one wins.
    new.sort_by_key(|(key, ..)| *key);
    let rows: Vec<&Row> = new.iter().map(|(_, row, ..)| *row).collect();
    let inserted = fetch_chunks(connection, &rows, |sql, rows| {
        sql.insert("squidmesh_runs", RUN_COLUMNS, rows).push(" ON CONFLICT DO NOTHING RETURNING id")
    })
    .await?;
    let inserted = ids(&inserted)?;
    new.retain(|(.., id, _)| !inserted.contains(id));
    if new.is_empty() {
        return Ok(());
    }

    let keys: Vec<Row> = new
        .iter()
        .filter_map(|(key, ..)| *key)
        .map(|(workflow, key)| vec![workflow.as_str().into(), key.as_str().into()])
        .collect();
    let taken = fetch_chunks(connection, &keys.iter().collect::<Vec<_>>(), |sql, rows| {
        sql.with_change(&[fixed("flow"), fixed("key")], rows)
            .push("SELECT flow, key, (SELECT id FROM squidmesh_runs WHERE workflow = flow AND idempotency_key = key ")
            .push("AND idempotency_key IS NOT NULL) AS id FROM change")
    })
    .await?;
    let mut owners = HashMap::new();
    for row in &taken {
        if let Some(id) = row.try_get_by::<Option<Uuid>, _>("id")? {
            let key: (String, String) = (row.try_get_by("flow")?, row.try_get_by("key")?);
            owners.insert(key, RunId::from_uuid(id));
        }
    }
    for (key, _, id, outcome) in new {
        *outcome = match key.and_then(|key| owners.get(key)) {
            Some(owner) if *owner != id => CommitOutcome::KeyTaken(*owner),
            _ => CommitOutcome::Conflict,
        };
    }
    Ok(())
}

async fn change_runs<C: ConnectionTrait>(
    connection: &C,
    members: &[&Member],
    outcomes: &mut [CommitOutcome],
) -> Result<(), DbErr> {
    let mut changed = Vec::new();
    for (member, outcome) in members.iter().zip(outcomes) {
        if let RunWrite::Change { row } = &member.run {
            changed.push((member.run_id, row, outcome));
        }
    }
    changed.sort_by_key(|(id, ..)| *id);
    let rows: Vec<&Row> = changed.iter().map(|(_, row, _)| *row).collect();
    let found = fetch_chunks(connection, &rows, |sql, rows| {
        sql.with_change(CHANGED_RUN, rows)
            .push("UPDATE squidmesh_runs SET status = new_status, current_step = step, last_error = error, ")
            .push("fingerprint = version, revision = new_revision, token = new_token, updated_at = at, ")
            .push("finished_at = finished")
            .join_change("squidmesh_runs", "id = run AND revision = expected")
            // A row that changed while it was waited for is looked at again: its revision must still be the one expected.
            .on_postgres(" AND revision = expected")
            .push(" RETURNING id")
    })
    .await?;
    let found = ids(&found)?;
    for (id, _, outcome) in changed {
        if !found.contains(&id) {
            *outcome = CommitOutcome::Conflict;
        }
    }
    Ok(())
}

async fn write_steps<C: ConnectionTrait>(connection: &C, members: &[(usize, &Member)]) -> Result<(), Undo> {
    let created = rows(members, |member| &member.created_steps);
    execute_chunks(connection, &created, |sql, rows| sql.insert("squidmesh_step_runs", STEP_RUN_COLUMNS, rows)).await?;
    let changed = rows(members, |member| &member.changed_steps);
    let found = execute_chunks(connection, &changed, |sql, rows| {
        sql.with_change(CHANGED_STEP_RUN, rows)
            .push("UPDATE squidmesh_step_runs SET status = new_status, output = new_output, last_error = error, ")
            .push("attempt = new_attempt, failures = new_failures, crashes = new_crashes, lease = new_lease, ")
            .push("sequence = place_in_run, resume = new_resume, manual = new_manual, routes = new_routes, ")
            .push("compensation = new_compensation, started_at = started, attempt_started_at = attempt_started, ")
            .push("finished_at = finished")
            .join_change("squidmesh_step_runs", "run_id = run AND step = name")
    })
    .await?;
    all_found(found, changed.len(), "step runs")
}

async fn write_attempts<C: ConnectionTrait>(connection: &C, members: &[(usize, &Member)]) -> Result<(), Undo> {
    let created = rows(members, |member| &member.created_attempts);
    execute_chunks(connection, &created, |sql, rows| sql.insert("squidmesh_attempts", ATTEMPT_COLUMNS, rows)).await?;
    let changed = rows(members, |member| &member.changed_attempts);
    let found = execute_chunks(connection, &changed, |sql, rows| {
        sql.with_change(CHANGED_ATTEMPT, rows)
            .push("UPDATE squidmesh_attempts SET status = new_status, error = new_error, finished_at = finished")
            .join_change("squidmesh_attempts", "run_id = run AND step = name AND number = new_number")
    })
    .await?;
    all_found(found, changed.len(), "attempts")
}

fn all_found(found: u64, changed: usize, what: &'static str) -> Result<(), Undo> {
    if usize::try_from(found) == Ok(changed) { Ok(()) } else { Err(Undo::Missing(what)) }
}

fn ids(rows: &[QueryResult]) -> Result<HashSet<RunId>, DbErr> {
    rows.iter().map(|row| row.try_get_by::<Uuid, _>("id").map(RunId::from_uuid)).collect()
}

/// The rows of [`changed_run_to_row`](crate::rows::changed_run_to_row).
const CHANGED_RUN: &[Column] = &[
    fixed("run"),
    fixed("expected"),
    fixed("new_status"),
    nullable("step"),
    nullable("error"),
    fixed("version"),
    fixed("new_revision"),
    fixed("new_token"),
    fixed("at"),
    nullable("finished"),
];

/// The rows of [`changed_step_run_to_row`](crate::rows::changed_step_run_to_row).
const CHANGED_STEP_RUN: &[Column] = &[
    fixed("run"),
    fixed("name"),
    fixed("new_status"),
    nullable("new_output"),
    nullable("error"),
    fixed("new_attempt"),
    fixed("new_failures"),
    fixed("new_crashes"),
    nullable("new_lease"),
    nullable("place_in_run"),
    nullable("new_resume"),
    nullable("new_manual"),
    nullable("new_routes"),
    nullable("new_compensation"),
    nullable("started"),
    nullable("attempt_started"),
    nullable("finished"),
];

/// The rows of [`changed_attempt_to_row`](crate::rows::changed_attempt_to_row).
const CHANGED_ATTEMPT: &[Column] = &[
    fixed("run"),
    fixed("name"),
    fixed("new_number"),
    fixed("new_status"),
    nullable("new_error"),
    nullable("finished"),
];
