//! Claims intents by key, such as those that a queue outside the database announced.
//!
//! Rows that another transaction has locked are skipped: they are being claimed or committed. No claim waits for
//! another here, so the order of the keys does not matter.

use std::collections::HashMap;

use sea_orm::DbErr;
use squidmesh_core::dispatch::{IntentKey, Lease};
use squidmesh_core::port::{Claim, ClaimKeysRequest, ClaimResult, StoreError};

use super::claimed::{leases, with_runs};
use super::held::{lease_until, may_be_taken_over};
use crate::clock::StoreClock;
use crate::database::Database;
use crate::epoch::IN_THIS_EPOCH;
use crate::error::failed;
use crate::rows::{INTENT_KEY, intent_key_to_row, intent_state_from_row};
use crate::sql::{Row, Sql, fetch_chunks};

/// Claims the given intents if they are due, and returns one result per key, in order. Must be called in a task
/// that is not cancelled.
pub(crate) async fn claim_keys(
    database: &Database,
    request: &ClaimKeysRequest,
) -> Result<Vec<ClaimResult>, StoreError> {
    let doing = failed("claiming work");
    let mut wanted: Vec<&IntentKey> = request.keys.iter().collect();
    wanted.sort();
    wanted.dedup();
    let claimed = hold(database, &wanted, request).await.map_err(&doing)?;
    let claims = with_runs(database, claimed, &request.cached_runs).await.map_err(&doing)?;
    let mut claims: HashMap<IntentKey, Claim> =
        claims.into_iter().map(|claim| (claim.lease.key.clone(), claim)).collect();
    let others: Vec<&IntentKey> = wanted.into_iter().filter(|key| !claims.contains_key(key)).collect();
    let states = states(database, &others).await.map_err(&doing)?;
    Ok(request
        .keys
        .iter()
        .map(|key| match (claims.remove(key), states.get(key)) {
            (Some(claim), _) => ClaimResult::Claimed(Box::new(claim)),
            (None, Some(true)) => ClaimResult::NotDue,
            (None, Some(false)) => ClaimResult::Held,
            // The key was given twice and is claimed at its first position; otherwise the intent does not exist.
            (None, None) if others.binary_search(&key).is_err() => ClaimResult::Held,
            (None, None) => ClaimResult::Absent,
        })
        .collect())
}

/// Claims the due intents, with one statement per chunk.
async fn hold(database: &Database, keys: &[&IntentKey], request: &ClaimKeysRequest) -> Result<Vec<Lease>, DbErr> {
    let rows = rows(keys);
    let write = |sql: Sql, rows: &[&Row]| lease_due(sql, &database.clock, request, rows);
    let held = fetch_chunks(database.writer(), &rows.iter().collect::<Vec<_>>(), write).await?;
    Ok(leases(&held))
}

/// Leases those of the given intents that are due, and returns them.
pub(crate) fn lease_due(sql: Sql, clock: &StoreClock, request: &ClaimKeysRequest, rows: &[&Row]) -> Sql {
    let due = |sql: Sql| {
        let sql = clock.now(sql.push("run_id = run AND step = name AND available_at <= "));
        may_be_taken_over(sql.push(" AND (lease IS NULL OR "), &request.takeover).push(")")
    };
    let sql = lease_until(sql.with_change(INTENT_KEY, rows), clock, request.token, request.lease);
    let sql = if sql.is_postgres() {
        let sql = sql.push(" FROM change CROSS JOIN LATERAL (SELECT ctid AS row_ctid FROM squidmesh_intents WHERE ");
        due(sql).push(" FOR UPDATE SKIP LOCKED) AS intent WHERE squidmesh_intents.ctid = row_ctid")
    } else {
        due(sql.push(" FROM change WHERE "))
    };
    sql.push(" AND ").push(IN_THIS_EPOCH).push(" RETURNING run_id, step, lease")
}

/// Returns, for existing intents that could not be claimed, whether each waits for its time and is not leased.
async fn states(database: &Database, keys: &[&IntentKey]) -> Result<HashMap<IntentKey, bool>, DbErr> {
    let rows = rows(keys);
    let found = fetch_chunks(database.reader(), &rows.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(INTENT_KEY, rows).push("SELECT run_id, step, (lease IS NULL AND available_at > ");
        let sql = database.clock.now(sql).push(") AS waits FROM change CROSS JOIN squidmesh_intents WHERE ");
        sql.push("run_id = run AND step = name")
    })
    .await?;
    Ok(found.iter().filter_map(|row| intent_state_from_row(row).ok()).collect())
}

fn rows(keys: &[&IntentKey]) -> Vec<Row> {
    keys.iter().map(|key| intent_key_to_row(key)).collect()
}
