//! Extends leases, and gives back what they hold. By token alone: whoever lost a lease changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::{Lease, StoreError};

use crate::clock::millis;
use crate::database::Database;
use crate::error::failed;
use crate::intents::{HELD_INTENT, lock_held};
use crate::rows::lease_to_row;
use crate::sql::{Row, execute_chunks};

/// Extends leases to so long from now, and answers for each whether it is held.
pub(crate) async fn extend(database: &Database, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
    let held = change_held(database, leases, "", lease).await.map_err(failed("extending leases"))?;
    Ok(leases.iter().map(|lease| held.contains(lease)).collect())
}

/// Gives back what is still held, due after `delay`.
pub(crate) async fn release(database: &Database, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
    change_held(database, leases, "lease = NULL, ", delay).await.map_err(failed("giving work back"))?;
    Ok(())
}

/// Locks what is held, then changes it, and answers with it. Call this in a task that is not cancelled.
///
/// In two statements: on Postgres a row that another changes while a statement begins is locked by it, but not seen as it has
/// become; the next one sees it.
async fn change_held(
    database: &Database,
    leases: &[Lease],
    change: &str,
    delay: Duration,
) -> Result<HashSet<Lease>, DbErr> {
    let transaction = database.begin().await?;
    let held = lock_held(&transaction, &in_order(leases)).await?;
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

const HELD: &str = "run_id = run AND step = name AND lease = token";

/// Everybody who locks several intents does so in the order of their keys.
fn in_order<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Vec<Row> {
    let mut leases: Vec<&Lease> = leases.into_iter().collect();
    leases.sort();
    leases.dedup();
    leases.into_iter().map(lease_to_row).collect()
}
