//! What a commit does to intents: takes them away, adds and replaces them, and checks the fences on the way.
//!
//! The last lock that a commit takes but for the audit trail. Claims never wait for it: they skip what is locked.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::Lease;

use crate::apply::{Undo, rows};
use crate::clock::StoreClock;
use crate::columns::{Column, fixed, names, nullable};
use crate::member::Member;
use crate::rows::{INTENT_COLUMNS, lease_from_row, lease_to_row};
use crate::sql::{Row, execute_chunks, fetch_chunks};

/// Writes the intents of members whose runs are locked already.
pub(crate) async fn write<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    members: &[(usize, &Member)],
) -> Result<(), Undo> {
    let removed = remove(connection, members).await?;
    let held = still_held(connection, members).await?;
    let fenced: Vec<usize> = members
        .iter()
        .filter(|(_, member)| member.fences.iter().any(|fence| !removed.contains(fence) && !held.contains(fence)))
        .map(|(place, _)| *place)
        .collect();
    if !fenced.is_empty() {
        return Err(Undo::Fenced(fenced));
    }
    let members: Vec<&Member> = members.iter().map(|(_, member)| *member).collect();
    put(connection, clock, &rows(&members, |member| &member.added_intents), "DO NOTHING").await?;
    put(connection, clock, &rows(&members, |member| &member.replaced_intents), REPLACE_INTENT).await?;
    repin(connection, &rows(&members, |member| &member.repinned_intents)).await?;
    Ok(())
}

/// Removes, and answers with the leases that went with what was removed: a fence that is among them held to the end.
async fn remove<C: ConnectionTrait>(connection: &C, members: &[(usize, &Member)]) -> Result<HashSet<Lease>, DbErr> {
    let members: Vec<&Member> = members.iter().map(|(_, member)| *member).collect();
    let removed = fetch_chunks(connection, &rows(&members, |member| &member.removed_intents), |sql, rows| {
        sql.with_change(REMOVED_INTENT, rows)
            .push("DELETE FROM squidmesh_intents WHERE (run_id, step) IN (SELECT run, name FROM change) ")
            .push("RETURNING run_id, step, lease")
    })
    .await?;
    Ok(held_leases(&removed))
}

/// Locks the intents of the other fences, and answers with those that are held.
async fn still_held<C: ConnectionTrait>(connection: &C, members: &[(usize, &Member)]) -> Result<HashSet<Lease>, DbErr> {
    let fences: Vec<Row> = members.iter().flat_map(|(_, member)| &member.held).map(lease_to_row).collect();
    lock_held(connection, &fences, WhenLocked::Wait).await
}

/// What to do about an intent that somebody else has locked. SQLite has no locks of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhenLocked {
    /// Wait for it.
    Wait,
    /// Go on without it.
    Skip,
}

/// Locks intents, in the order given, and answers with those that are held under the leases given.
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

/// Those that are held under the leases given, as it was committed last.
pub(crate) async fn read_held<C: ConnectionTrait>(connection: &C, leases: &[Row]) -> Result<HashSet<Lease>, DbErr> {
    held(connection, leases, "").await
}

async fn held<C: ConnectionTrait>(connection: &C, leases: &[Row], lock: &str) -> Result<HashSet<Lease>, DbErr> {
    let held = fetch_chunks(connection, &leases.iter().collect::<Vec<_>>(), |sql, rows| {
        let sql = sql.with_change(HELD_INTENT, rows).push("SELECT run_id, step, lease FROM change CROSS JOIN ");
        let intents = "squidmesh_intents WHERE run_id = run AND step = name AND lease = token";
        if sql.is_postgres() {
            sql.push("LATERAL (SELECT run_id, step, lease FROM ").push(intents).push(lock).push(") AS found")
        } else {
            sql.push(intents)
        }
    })
    .await?;
    Ok(held_leases(&held))
}

async fn put<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    intents: &[&Row],
    on_conflict: &str,
) -> Result<(), DbErr> {
    execute_chunks(connection, intents, |sql, rows| {
        let sql = sql.with_change(NEW_INTENT, rows);
        let sql = sql.push("INSERT INTO squidmesh_intents (").push(&names(INTENT_COLUMNS)).push(")");
        let sql = sql.push(" SELECT ").push(PUT_INTENT);
        // The ON of ON CONFLICT is taken for that of a join, unless there is a WHERE before it.
        clock.now(sql).push(" FROM change WHERE true ON CONFLICT ").push(on_conflict)
    })
    .await?;
    Ok(())
}

/// Gives intents to another version. Whoever holds one goes on holding it.
async fn repin<C: ConnectionTrait>(connection: &C, intents: &[&Row]) -> Result<(), DbErr> {
    execute_chunks(connection, intents, |sql, rows| {
        sql.with_change(REPINNED_INTENT, rows)
            .push(REPIN_INTENT)
            .push(" FROM change WHERE run_id = run AND step = name")
    })
    .await?;
    Ok(())
}

/// Rows without a lease are of no interest here, nor are rows that cannot be read.
fn held_leases(rows: &[QueryResult]) -> HashSet<Lease> {
    rows.iter().filter_map(|row| lease_from_row(row).ok()).collect()
}

/// What is put for each row of [`NEW_INTENT`]; the time now follows.
pub(crate) const PUT_INTENT: &str = "run, name, line, rank, version, token, delay + ";

/// How an intent takes the place of another.
pub(crate) const REPLACE_INTENT: &str = "(run_id, step) DO UPDATE SET queue = excluded.queue, priority = excluded.priority, \
    fingerprint = excluded.fingerprint, lease = excluded.lease, available_at = excluded.available_at";

/// How an intent changes that another version takes over.
pub(crate) const REPIN_INTENT: &str =
    "UPDATE squidmesh_intents SET queue = line, priority = rank, fingerprint = version";

/// An intent that is taken away, and the token of the fence if the fence is on it.
pub(crate) const REMOVED_INTENT: &[Column] = &[fixed("run"), fixed("name"), nullable("token")];

/// The rows of [`intent_key_to_row`](crate::rows::intent_key_to_row).
pub(crate) const INTENT_KEY: &[Column] = &[fixed("run"), fixed("name")];

/// The rows of [`lease_to_row`].
pub(crate) const HELD_INTENT: &[Column] = &[fixed("run"), fixed("name"), fixed("token")];

/// The rows of [`intent_to_row`](crate::rows::intent_to_row).
pub(crate) const NEW_INTENT: &[Column] =
    &[fixed("run"), fixed("name"), fixed("line"), fixed("rank"), fixed("version"), nullable("token"), fixed("delay")];

/// The rows of [`repinned_intent_to_row`](crate::rows::repinned_intent_to_row).
pub(crate) const REPINNED_INTENT: &[Column] =
    &[fixed("run"), fixed("name"), fixed("line"), fixed("rank"), fixed("version")];
