//! Extends leases, and gives back what they hold. By token alone: whoever lost a lease changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::{Lease, StoreError};

use crate::clock::millis;
use crate::database::Database;
use crate::error::failed;
use crate::intents::{HELD_INTENT, WhenLocked, lock_held, read_held};
use crate::rows::lease_to_row;
use crate::sql::{Row, execute_chunks};

/// Extends leases to so long from now, and answers for each whether it is held.
///
/// This waits for nobody: what is locked is being committed, by whoever has it locked, or by a transaction of the host that may take
/// its time. Nobody else can claim it meanwhile, so that its lease may wait for the next extension, and the others need not wait for it.
pub(crate) async fn extend(database: &Database, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
    let doing = failed("extending leases");
    let mut held = change_held(database, leases, WhenLocked::Skip, "", lease).await.map_err(&doing)?;
    let left = without(leases, &held);
    if !left.is_empty() {
        held.extend(read_held(database.reader(), &left).await.map_err(&doing)?);
    }
    Ok(leases.iter().map(|lease| held.contains(lease)).collect())
}

/// Gives back what is still held, due after `delay`. What is locked is waited for, one at a time: whoever holds nothing while it
/// waits is never waited for in a circle.
pub(crate) async fn release(database: &Database, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
    let doing = failed("giving work back");
    let change = "lease = NULL, ";
    let given = change_held(database, leases, WhenLocked::Skip, change, delay).await.map_err(&doing)?;
    let left = without(leases, &given);
    let held =
        if left.is_empty() { HashSet::new() } else { read_held(database.reader(), &left).await.map_err(&doing)? };
    for lease in held {
        change_held(database, &[lease], WhenLocked::Wait, change, delay).await.map_err(&doing)?;
    }
    Ok(())
}

/// Locks what is held, then changes it, and answers with it. Call this in a task that is not cancelled.
///
/// In two statements: on Postgres a row that another changes while a statement begins is locked by it, but not seen as it has
/// become; the next one sees it.
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
    execute_chunks(&transaction, &rows.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(HELD_INTENT, rows);
        let sql = sql.push("UPDATE squidmesh_intents SET ").push(change).push("available_at = ");
        let sql = database.clock().now(sql).push(" + ").bind(millis(delay));
        sql.join_change("squidmesh_intents", HELD)
    })
    .await?;
    transaction.commit().await?;
    Ok(held)
}

fn without(leases: &[Lease], held: &HashSet<Lease>) -> Vec<Row> {
    in_order(leases.iter().filter(|lease| !held.contains(lease)))
}

const HELD: &str = "run_id = run AND step = name AND lease = token";

/// Everybody who locks several intents does so in the order of their keys.
fn in_order<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Vec<Row> {
    let mut leases: Vec<&Lease> = leases.into_iter().collect();
    leases.sort();
    leases.dedup();
    leases.into_iter().map(lease_to_row).collect()
}
