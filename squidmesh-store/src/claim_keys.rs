//! Claims intents that somebody names: what a queue outside the database announced.
//!
//! What another has locked is skipped, not waited for: it is being claimed or settled. So nobody waits for anybody here, and
//! the order in which the keys come cannot matter.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::{Claim, IntentKey, Lease, LeaseToken, SingleClaim, StoreError};

use crate::claim::{held_until, leases, with_runs};
use crate::database::Database;
use crate::error::failed;
use crate::intents::INTENT_KEY;
use crate::rows::{intent_key_to_row, intent_state_from_row};
use crate::sql::{Row, Sql, fetch_chunks};

/// Claims what is due of these, and answers for each in its place. Call this in a task that is not cancelled.
pub(crate) async fn claim_keys(
    database: &Database,
    keys: &[IntentKey],
    token: LeaseToken,
    lease: Duration,
) -> Result<Vec<SingleClaim>, StoreError> {
    let doing = failed("claiming work");
    let mut wanted: Vec<&IntentKey> = keys.iter().collect();
    wanted.sort();
    wanted.dedup();
    let claimed = hold(database, &wanted, token, lease).await.map_err(&doing)?;
    let claims = with_runs(database, claimed, &[]).await.map_err(&doing)?;
    let mut claims: HashMap<IntentKey, Claim> =
        claims.into_iter().map(|claim| (claim.lease.key.clone(), claim)).collect();
    let others: Vec<&IntentKey> = wanted.into_iter().filter(|key| !claims.contains_key(key)).collect();
    let states = states(database, &others).await.map_err(&doing)?;
    Ok(keys
        .iter()
        .map(|key| match (claims.remove(key), states.get(key)) {
            (Some(claim), _) => SingleClaim::Claimed(Box::new(claim)),
            (None, Some(true)) => SingleClaim::NotDue,
            (None, Some(false)) => SingleClaim::Held,
            // Named twice, and claimed in the first of its places; or else there is none.
            (None, None) if others.binary_search(&key).is_err() => SingleClaim::Held,
            (None, None) => SingleClaim::Absent,
        })
        .collect())
}

/// Holds what is due, in one statement for each portion.
async fn hold(
    database: &Database,
    keys: &[&IntentKey],
    token: LeaseToken,
    lease: Duration,
) -> Result<Vec<Lease>, DbErr> {
    let rows = rows(keys);
    let due = |sql: Sql| database.clock().now(sql.push("run_id = run AND step = name AND available_at <= "));
    let held = fetch_chunks(database.writer(), &rows.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = held_until(sql.with_change(INTENT_KEY, rows), database.clock(), token, lease);
        let sql = if sql.is_postgres() {
            let sql = sql.push(" FROM change CROSS JOIN LATERAL (SELECT ctid AS place FROM squidmesh_intents WHERE ");
            due(sql).push(" FOR UPDATE SKIP LOCKED) AS found WHERE squidmesh_intents.ctid = place")
        } else {
            due(sql.push(" FROM change WHERE "))
        };
        sql.push(" RETURNING run_id, step, lease")
    })
    .await?;
    Ok(leases(&held))
}

/// Of intents that are there and were not to be had: whether each waits for its time, and is not in somebody's hands.
async fn states(database: &Database, keys: &[&IntentKey]) -> Result<HashMap<IntentKey, bool>, DbErr> {
    let rows = rows(keys);
    let found = fetch_chunks(database.reader(), &rows.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(INTENT_KEY, rows).push("SELECT run_id, step, (lease IS NULL AND available_at > ");
        let sql = database.clock().now(sql).push(") AS waits FROM change CROSS JOIN squidmesh_intents WHERE ");
        sql.push("run_id = run AND step = name")
    })
    .await?;
    Ok(found.iter().filter_map(|row| intent_state_from_row(row).ok()).collect())
}

fn rows(keys: &[&IntentKey]) -> Vec<Row> {
    keys.iter().map(|key| intent_key_to_row(key)).collect()
}
