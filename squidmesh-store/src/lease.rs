//! Extends leases, and gives back what they hold. By token alone: whoever lost a lease changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use squidmesh_core::{Lease, StoreError};

use crate::clock::millis;
use crate::database::Database;
use crate::error::failed;
use crate::intents::HELD_INTENT;
use crate::keyed::Rows;
use crate::rows::{lease_from_row, lease_to_row};
use crate::sql::{Row, execute_chunks, fetch_chunks};

/// Extends leases, and answers for each whether it is held.
///
/// A lease that another call extends at the same moment may escape the statement: what it did not find is looked for once
/// more before it is called lost.
pub(crate) async fn extend(database: &Database, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
    let mut held = extend_once(database, leases, lease).await?;
    let missed: Vec<Lease> = leases.iter().filter(|lease| !held.contains(*lease)).cloned().collect();
    if !missed.is_empty() {
        held.extend(extend_once(database, &missed, lease).await?);
    }
    Ok(leases.iter().map(|lease| held.contains(lease)).collect())
}

async fn extend_once(database: &Database, leases: &[Lease], lease: Duration) -> Result<HashSet<Lease>, StoreError> {
    let rows = in_order(leases);
    let extended = fetch_chunks(database.writer(), &rows.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(HELD_INTENT, rows).push("UPDATE squidmesh_intents SET available_at = ");
        let sql = database.clock().now(sql).push(" + ").bind(millis(lease));
        sql.join_change("squidmesh_intents", HELD, Rows::Contended).push(" RETURNING run_id, step, lease")
    })
    .await
    .map_err(failed("extending leases"))?;
    Ok(extended.iter().filter_map(|row| lease_from_row(row).ok()).collect())
}

/// Gives back what is still held, due after `delay`.
pub(crate) async fn release(database: &Database, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
    let rows = in_order(leases);
    execute_chunks(database.writer(), &rows.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(HELD_INTENT, rows);
        let sql = sql.push("UPDATE squidmesh_intents SET lease = NULL, available_at = ");
        let sql = database.clock().now(sql).push(" + ").bind(millis(delay));
        sql.join_change("squidmesh_intents", HELD, Rows::Contended)
    })
    .await
    .map_err(failed("giving work back"))?;
    Ok(())
}

const HELD: &str = "run_id = run AND step = name AND lease = token";

/// Everybody who locks several intents does so in the order of their keys.
fn in_order(leases: &[Lease]) -> Vec<Row> {
    let mut leases: Vec<&Lease> = leases.iter().collect();
    leases.sort();
    leases.into_iter().map(lease_to_row).collect()
}
