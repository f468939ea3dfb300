//! Writes commits: on Postgres as one statement, on SQLite as a handful in an open transaction or savepoint, however many
//! commits there are.
//!
//! The run's row comes first: writing it takes its lock and checks the revision, so that what follows is undisputed. Then, in
//! the order in which everybody locks: definitions, step runs, attempts, intents, audit. Knows nothing of who opened the transaction;
//! whoever did undoes it when told to.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::{CommitOutcome, Fingerprint, RunId, StoreError};

use crate::clock::StoreClock;
use crate::columns::{Column, fixed, nullable, rare};
use crate::error::{Fault, failed, is_lock_timeout};
use crate::intents;
use crate::member::{Member, RunWrite};
use crate::rows::{ATTEMPT_COLUMNS, AUDIT_COLUMNS, DEFINITION_COLUMNS, RUN_COLUMNS, STEP_RUN_COLUMNS};
use crate::sql::Sql;
use crate::sql::{Row, execute_chunks, fetch_chunks};
use crate::wave::{self, Within};

/// Why what was written must be undone.
#[derive(Debug)]
pub(crate) enum Undo {
    /// These members, by their place, do not hold their intent any more. Without them the rest can be written.
    Fenced(Vec<usize>),
    /// A claim has been lost, or something was moved in the very moment in which it was to be changed: nothing was written.
    Unsettled,
    /// There is no transaction: the database is away, or too busy to begin one.
    NotBegun(DbErr),
    /// The database failed.
    Database(DbErr),
    /// Something that a member changes is not there: one of them is wrong.
    Missing(&'static str),
}

impl From<DbErr> for Undo {
    fn from(error: DbErr) -> Self {
        match error {
            // No connection could be had or made: nothing was sent, and the next one would fare no better.
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Undo::NotBegun(error),
            _ => Undo::Database(error),
        }
    }
}

impl Undo {
    /// Whether it has nothing to do with any single member, so that there is no use in trying them one by one.
    pub(crate) fn strikes_all(&self) -> bool {
        match self {
            Undo::NotBegun(_) => true,
            Undo::Database(error) => Fault::of(error) == Fault::Connection,
            Undo::Fenced(_) | Undo::Unsettled | Undo::Missing(_) => false,
        }
    }

    /// Whether somebody else has something locked that is to be written, and may let go of it yet.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Undo::Database(error) if is_lock_timeout(error))
    }

    /// The error of one member.
    pub(crate) fn to_error(&self, run: RunId) -> StoreError {
        match self {
            Undo::NotBegun(error) | Undo::Database(error) => failed("committing")(error.clone()),
            Undo::Missing(what) => StoreError::Corrupt {
                what: format!("run {run}"),
                reason: format!("a commit changes one of its {what}, which is not stored"),
            },
            Undo::Fenced(_) | Undo::Unsettled => StoreError::Corrupt {
                what: format!("run {run}"),
                reason: "a commit changes one of its step runs or intents, which is not stored as it must be"
                    .to_owned(),
            },
        }
    }
}

/// How one commit ended.
pub(crate) type Answer = Result<CommitOutcome, StoreError>;

/// Writes members of different runs within a transaction that somebody began. The answer for each is its own, in their order;
/// members that conflict write nothing.
pub(crate) async fn apply<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    known: &HashSet<Fingerprint>,
    members: &[&Member],
) -> Result<Vec<Answer>, Undo> {
    if Sql::on(connection).is_postgres() {
        return wave::write(connection, clock, known, members, Within::Hosts).await;
    }
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
    let wrote: Vec<&Member> = written.iter().map(|(_, member)| *member).collect();
    write_steps(connection, &wrote).await?;
    let attempts = rows(&wrote, |member| &member.attempts);
    execute_chunks(connection, &attempts, |sql, rows| sql.insert("squidmesh_attempts", ATTEMPT_COLUMNS, rows)).await?;
    intents::write(connection, clock, &written).await?;
    let audit = rows(&wrote, |member| &member.audit);
    execute_chunks(connection, &audit, |sql, rows| sql.insert("squidmesh_audit", AUDIT_COLUMNS, rows)).await?;
    Ok(outcomes.into_iter().map(Ok).collect())
}

/// The rows of one kind of all members.
pub(crate) fn rows<'a>(members: &[&'a Member], of: impl Fn(&'a Member) -> &'a Vec<Row>) -> Vec<&'a Row> {
    members.iter().flat_map(|member| of(member)).collect()
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

    let keys: Vec<_> = new.iter().filter_map(|(key, ..)| *key).collect();
    let owners = key_owners(connection, &keys).await?;
    for (key, _, id, outcome) in new {
        *outcome = match key.and_then(|key| owners.get(key)) {
            Some(owner) if *owner != id => CommitOutcome::KeyTaken(*owner),
            _ => CommitOutcome::Conflict,
        };
    }
    Ok(())
}

/// The runs that were started under keys of workflows.
pub(crate) async fn key_owners<C: ConnectionTrait>(
    connection: &C,
    keys: &[&Key],
) -> Result<HashMap<Key, RunId>, DbErr> {
    let keys: Vec<Row> =
        keys.iter().map(|(workflow, key)| vec![workflow.as_str().into(), key.as_str().into()]).collect();
    let taken = fetch_chunks(connection, &keys.iter().collect::<Vec<_>>(), |sql, rows| {
        sql.with_change(&[fixed("flow"), fixed("key")], rows)
            .push("SELECT flow, key, (SELECT id FROM squidmesh_runs WHERE workflow = flow AND idempotency_key = key ")
            .push("AND idempotency_key IS NOT NULL) AS id FROM change")
    })
    .await?;
    let mut owners = HashMap::new();
    for row in &taken {
        if let Some(id) = row.try_get_by::<Option<Uuid>, _>("id")? {
            owners.insert((row.try_get_by("flow")?, row.try_get_by("key")?), RunId::from_uuid(id));
        }
    }
    Ok(owners)
}

/// A workflow, and an idempotency key of it.
pub(crate) type Key = (String, String);

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
            .push(CHANGE_RUN)
            .push(" FROM change WHERE id = run AND revision = expected RETURNING id")
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

async fn write_steps<C: ConnectionTrait>(connection: &C, members: &[&Member]) -> Result<(), Undo> {
    let created = rows(members, |member| &member.created_steps);
    execute_chunks(connection, &created, |sql, rows| sql.insert("squidmesh_step_runs", STEP_RUN_COLUMNS, rows)).await?;
    let changed = rows(members, |member| &member.changed_steps);
    let found = execute_chunks(connection, &changed, |sql, rows| {
        sql.with_change(CHANGED_STEP_RUN, rows)
            .push(CHANGE_STEP_RUN)
            .push(" FROM change WHERE run_id = run AND step = name")
    })
    .await?;
    all_found(found, changed.len(), "step runs")
}

fn all_found(found: u64, changed: usize, what: &'static str) -> Result<(), Undo> {
    if usize::try_from(found) == Ok(changed) { Ok(()) } else { Err(Undo::Missing(what)) }
}

fn ids(rows: &[QueryResult]) -> Result<HashSet<RunId>, DbErr> {
    rows.iter().map(|row| row.try_get_by::<Uuid, _>("id").map(RunId::from_uuid)).collect()
}

/// How a run changes.
pub(crate) const CHANGE_RUN: &str = "UPDATE squidmesh_runs SET status = new_status, current_step = step, \
    last_error = error, fingerprint = version, revision = new_revision, token = new_token, updated_at = at, \
    finished_at = finished";

/// How a step run changes.
pub(crate) const CHANGE_STEP_RUN: &str = "UPDATE squidmesh_step_runs SET status = new_status, output = new_output, \
    last_error = error, attempt = new_attempt, failures = new_failures, crashes = new_crashes, lease = new_lease, \
    sequence = place_in_run, resume = new_resume, manual = new_manual, routes = new_routes, \
    compensation = new_compensation, started_at = started, attempt_started_at = attempt_started, \
    finished_at = finished";

/// The rows of [`changed_run_to_row`](crate::rows::changed_run_to_row).
pub(crate) const CHANGED_RUN: &[Column] = &[
    fixed("run"),
    fixed("expected"),
    fixed("new_status"),
    nullable("step"),
    rare("error"),
    fixed("version"),
    fixed("new_revision"),
    fixed("new_token"),
    fixed("at"),
    nullable("finished"),
];

/// The rows of [`changed_step_run_to_row`](crate::rows::changed_step_run_to_row).
pub(crate) const CHANGED_STEP_RUN: &[Column] = &[
    fixed("run"),
    fixed("name"),
    fixed("new_status"),
    nullable("new_output"),
    rare("error"),
    fixed("new_attempt"),
    fixed("new_failures"),
    fixed("new_crashes"),
    nullable("new_lease"),
    nullable("place_in_run"),
    rare("new_resume"),
    rare("new_manual"),
    rare("new_routes"),
    rare("new_compensation"),
    nullable("started"),
    nullable("attempt_started"),
    nullable("finished"),
];
