//! The table `squidmesh_intents`: one small row per target to deliver. This is the hot table: rows come and go.
//!
//! The step's name identifies the target; the compensation of a run, which has no step, has the empty name.

use squidmesh_core::definition::{Fingerprint, Priority, QueueName, StepName};
use squidmesh_core::dispatch::{DispatchTarget, Intent, IntentKey, Lease};
use squidmesh_core::port::{DueIntent, IntentRecord, LeaseToken};

use super::cell::{Columns, Unreadable, optional_uuid, parsed, text, time, uuid};
use super::run::run_id_from_row;
use crate::clock::millis;
use crate::sql::{Column, Row, fixed, nullable};

/// The columns, in the order of [`intent_to_row`]; the row has a delay where the table has a time.
pub(crate) const INTENT_COLUMNS: &[Column] = &[
    fixed("run_id"),
    fixed("step"),
    fixed("queue"),
    fixed("priority"),
    fixed("fingerprint"),
    nullable("lease"),
    fixed("available_at"),
];

/// An intent to remove, and the token of the fence if the fence is on it.
pub(crate) const REMOVED_INTENT: &[Column] = &[fixed("run"), fixed("name"), nullable("token")];

/// The columns of [`intent_key_to_row`].
pub(crate) const INTENT_KEY: &[Column] = &[fixed("run"), fixed("name")];

/// The columns of [`lease_to_row`].
pub(crate) const HELD_INTENT: &[Column] = &[fixed("run"), fixed("name"), fixed("token")];

/// The columns of [`intent_to_row`].
pub(crate) const NEW_INTENT: &[Column] = &[
    fixed("run"),
    fixed("name"),
    fixed("new_queue"),
    fixed("new_priority"),
    fixed("new_version"),
    nullable("new_token"),
    fixed("delay"),
];

/// The columns of [`repinned_intent_to_row`].
pub(crate) const REPINNED_INTENT: &[Column] =
    &[fixed("run"), fixed("name"), fixed("new_queue"), fixed("new_priority"), fixed("new_version")];

pub(crate) fn intent_to_row(intent: &Intent) -> Row {
    let mut row = intent_key_to_row(&intent.key);
    row.extend([
        intent.queue.as_str().into(),
        intent.priority.as_i16().into(),
        intent.fingerprint.to_string().into(),
        intent.lease.map(|lease| *lease.as_uuid()).into(),
        millis(intent.delay).into(),
    ]);
    row
}

pub(crate) fn intent_key_to_row(key: &IntentKey) -> Row {
    let step = key.target.step().map_or("", StepName::as_str);
    // With room for the columns of a whole intent, so that the row does not move when they are added.
    let mut row = Vec::with_capacity(INTENT_COLUMNS.len());
    row.extend([key.run_id.as_uuid().into(), step.into()]);
    row
}

/// Encodes the changes to an intent that another version takes over: the key, then the queue, priority and
/// fingerprint.
pub(crate) fn repinned_intent_to_row(
    key: &IntentKey,
    fingerprint: &Fingerprint,
    queue: &QueueName,
    priority: Priority,
) -> Row {
    let mut row = intent_key_to_row(key);
    row.extend([queue.as_str().into(), priority.as_i16().into(), fingerprint.to_string().into()]);
    row
}

pub(crate) fn lease_to_row(lease: &Lease) -> Row {
    let mut row = intent_key_to_row(&lease.key);
    row.push((*lease.token.as_uuid()).into());
    row
}

/// Decodes a due intent, with its class in claim order.
pub(crate) fn due_intent_from_row(row: &impl Columns) -> Result<DueIntent, Unreadable> {
    let class: i32 = row.cell("class").ok_or_else(|| Unreadable::new("class", "is not a small number"))?;
    let (fingerprint, queue) = (parsed(row, "fingerprint")?, parsed(row, "queue")?);
    let (priority, at) = (priority_from_row(row)?, time(row, "available_at")?);
    Ok(DueIntent::new(key_from_row(row)?, fingerprint, queue, priority, at, class == 0))
}

/// Decodes an intent that could not be claimed, and whether it waits for its time.
pub(crate) fn intent_state_from_row(row: &impl Columns) -> Result<(IntentKey, bool), Unreadable> {
    let waits = row.cell("waits").ok_or_else(|| Unreadable::new("waits", "is not a boolean"))?;
    Ok((key_from_row(row)?, waits))
}

pub(crate) fn intent_from_row(row: &impl Columns) -> Result<IntentRecord, Unreadable> {
    let lease = optional_uuid(row, "lease")?.map(LeaseToken::from_uuid);
    let at = time(row, "available_at")?;
    Ok(IntentRecord::new(key_from_row(row)?, parsed(row, "queue")?, priority_from_row(row)?, at, lease))
}

/// Decodes the lease of a row that is held.
pub(crate) fn lease_from_row(row: &impl Columns) -> Result<Lease, Unreadable> {
    Ok(Lease { key: key_from_row(row)?, token: LeaseToken::from_uuid(uuid(row, "lease")?) })
}

fn key_from_row(row: &impl Columns) -> Result<IntentKey, Unreadable> {
    let run_id = run_id_from_row(row, "run_id")?;
    let target = match text(row, "step")?.as_str() {
        "" => DispatchTarget::Compensation,
        _ => DispatchTarget::Step(parsed(row, "step")?),
    };
    Ok(IntentKey { run_id, target })
}

fn priority_from_row(row: &impl Columns) -> Result<Priority, Unreadable> {
    let rank: i16 = row.cell("priority").ok_or_else(|| Unreadable::new("priority", "is not a small number"))?;
    [Priority::High, Priority::Normal, Priority::Low]
        .into_iter()
        .find(|priority| priority.as_i16() == rank)
        .ok_or_else(|| Unreadable::new("priority", "has a rank that this version does not know"))
}
