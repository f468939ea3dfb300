//! Leased intents: how a statement leases them, and which of them are held.
//!
//! Their locks are the last that a commit takes before the audit trail. Claims never wait for them: they skip
//! locked rows.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{LeaseToken, Takeover};

use crate::clock::{StoreClock, millis};
use crate::rows::{HELD_INTENT, lease_from_row};
use crate::sql::{Row, Sql, fetch_chunks};

/// Adds `UPDATE … SET`, which leases intents.
pub(crate) fn lease_until(sql: Sql, clock: &StoreClock, token: LeaseToken, lease: Duration) -> Sql {
    let sql = sql.push("UPDATE squidmesh_intents SET lease = ").bind(*token.as_uuid()).push(", available_at = ");
    clock.now(sql).push(" + ").bind(millis(lease))
}

/// Adds the condition that a leased intent may be taken over once its lease has expired.
pub(crate) fn may_be_taken_over(sql: Sql, takeover: &Takeover) -> Sql {
    match takeover {
        Takeover::Except(own) => {
            let own = sql.token_list(own);
            sql.none_of("lease", |sql| sql.bind(own))
        }
        _ => sql.push("FALSE"),
    }
}

/// How to treat an intent that another transaction has locked. SQLite has no row locks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhenLocked {
    /// Wait for the lock.
    Wait,
    /// Skip the intent.
    Skip,
}

/// Locks intents, in the order given, and returns those that are held under the given leases.
pub(crate) async fn lock_held<C: ConnectionTrait>(
    connection: &C,
    leases: &[Row],
    when_locked: WhenLocked,
) -> Result<HashSet<Lease>, DbErr> {
    let lock = match when_locked {
        WhenLocked::Wait => " FOR UPDATE",
        WhenLocked::Skip => " FOR UPDATE SKIP LOCKED",
    };
    held(connection, leases, lock).await
}

/// Returns the intents that are held under the given leases, as last committed.
pub(crate) async fn read_held<C: ConnectionTrait>(connection: &C, leases: &[Row]) -> Result<HashSet<Lease>, DbErr> {
    held(connection, leases, "").await
}

async fn held<C: ConnectionTrait>(connection: &C, leases: &[Row], lock: &str) -> Result<HashSet<Lease>, DbErr> {
    let held = fetch_chunks(connection, &leases.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(HELD_INTENT, rows).push("SELECT run_id, step, lease FROM change CROSS JOIN ");
        let intents = "squidmesh_intents WHERE run_id = run AND step = name AND lease = token";
        if sql.is_postgres() {
            sql.push("LATERAL (SELECT run_id, step, lease FROM ").push(intents).push(lock).push(") AS intent")
        } else {
            sql.push(intents)
        }
    })
    .await?;
    Ok(held_leases(&held))
}

/// Returns the leases of rows. Rows without a lease, and unreadable rows, are skipped.
pub(crate) fn held_leases(rows: &[QueryResult]) -> HashSet<Lease> {
    rows.iter().filter_map(|row| lease_from_row(row).ok()).collect()
}
