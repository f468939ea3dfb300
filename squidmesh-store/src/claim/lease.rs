//! Extends and releases leases. They match by token alone: a holder that lost its lease changes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{LeaseState, StoreError};
use squidmesh_core::{RunId, RunStatus};

use super::held::{WhenLocked, lock_held, read_held};
use crate::clock::{StoreClock, millis};
use crate::database::Database;
use crate::error::failed;
use crate::rows::{HELD_INTENT, lease_to_row, run_id_from_row};
use crate::sql::{Row, Sql, execute_chunks, portions};

/// Extends leases to `lease` from now, and returns for each whether it is held, with the status of its run.
///
/// Does not wait for locks: a locked intent is being committed, by its holder or by a transaction of the host that
/// may take its time. No other worker can claim it meanwhile, so its extension can wait for the next heartbeat,
/// and the other leases need not wait for it.
pub(crate) async fn extend_leases(
    database: &Database,
    leases: &[Lease],
    lease: Duration,
) -> Result<Vec<LeaseState>, StoreError> {
    let doing = failed("extending leases");
    let mut held = change_held(database, leases, WhenLocked::Skip, "", lease).await.map_err(&doing)?;
    let left = without(leases, &held);
    if !left.is_empty() {
        held.extend(read_held(database.reader(), &left).await.map_err(&doing)?);
    }
    let statuses = statuses(database, &held).await.map_err(&doing)?;
    let state = |lease: &Lease| match held.contains(lease) {
        true => LeaseState::Held(statuses.get(&lease.key.run_id).copied()),
        false => LeaseState::Lost,
    };
    Ok(leases.iter().map(state).collect())
}

/// Returns the statuses of the runs of leases, as far as they are readable.
async fn statuses(database: &Database, leases: &HashSet<Lease>) -> Result<HashMap<RunId, RunStatus>, DbErr> {
    let runs: BTreeSet<RunId> = leases.iter().map(|lease| lease.key.run_id).collect();
    let (runs, reader) = (Vec::from_iter(runs), database.reader());
    let mut found = Vec::new();
    for runs in portions(reader, &runs) {
        // No index contains the revision. Without it, a plan may scan the whole index that has the two others.
        let sql = Sql::on(reader).push("SELECT id, status, revision FROM squidmesh_runs WHERE id");
        found.extend(sql.one_of(runs.iter().map(RunId::as_uuid)).fetch(reader).await?);
    }
    let status = |row: &sea_orm::QueryResult| {
        let status: String = row.try_get_by("status").ok()?;
        Some((run_id_from_row(row, "id").ok()?, status.parse::<RunStatus>().ok()?))
    };
    Ok(found.iter().filter_map(status).collect())
}

/// Releases the leases that are still held; their intents are due after `delay`. Locked rows are waited for one at
/// a time: a transaction that holds no lock while it waits cannot deadlock.
pub(crate) async fn release_leases(database: &Database, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
    let doing = failed("releasing leases");
    let change = "lease = NULL, ";
    let released = change_held(database, leases, WhenLocked::Skip, change, delay).await.map_err(&doing)?;
    let left = without(leases, &released);
    let held =
        if left.is_empty() { HashSet::new() } else { read_held(database.reader(), &left).await.map_err(&doing)? };
    for lease in held {
        change_held(database, &[lease], WhenLocked::Wait, change, delay).await.map_err(&doing)?;
    }
    Ok(())
}

/// Locks the held intents, changes them, and returns their leases. Must be called in a task that is not cancelled.
///
/// Takes two statements: on Postgres, a row that another transaction changes while a statement starts is locked by
/// the statement, but its new version is not seen until the next one.
async fn change_held(
    database: &Database,
    leases: &[Lease],
    when_locked: WhenLocked,
    change: &str,
    delay: Duration,
) -> Result<HashSet<Lease>, DbErr> {
    let transaction = database.begin().await?;
    let held = lock_held(&transaction, &in_order(leases), when_locked).await?;
    let rows: Vec<Row> = in_order(held.iter());
    let write = |sql: Sql, rows: &[&Row]| due_after(sql, &database.clock, change, delay, rows);
    execute_chunks(&transaction, &rows.iter().collect::<Vec<_>>(), write).await?;
    transaction.commit().await?;
    Ok(held)
}

/// Makes held intents due after `delay`, with a further change.
pub(crate) fn due_after(sql: Sql, clock: &StoreClock, change: &str, delay: Duration, rows: &[&Row]) -> Sql {
    let sql = sql.with_change(HELD_INTENT, rows).push("UPDATE squidmesh_intents SET ").push(change);
    let sql = clock.now(sql.push("available_at = ")).push(" + ").bind(millis(delay));
    sql.join_change("squidmesh_intents", "run_id = run AND step = name AND lease = token")
}

fn without(leases: &[Lease], held: &HashSet<Lease>) -> Vec<Row> {
    in_order(leases.iter().filter(|lease| !held.contains(lease)))
}

/// Every transaction that locks several intents does so in the order of their keys.
fn in_order<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Vec<Row> {
    let mut leases: Vec<&Lease> = leases.into_iter().collect();
    leases.sort();
    leases.dedup();
    leases.into_iter().map(lease_to_row).collect()
}
