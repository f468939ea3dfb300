//! The table `squidmesh_intents`: one small row for each target that must be delivered. The hot one: rows come and go.
//!
//! A step's name says which target; the compensation of a run, which has no step, goes by the empty name.

use squidmesh_core::{
    DispatchTarget, DueIntent, Fingerprint, Intent, IntentKey, IntentRecord, Lease, LeaseToken, Priority, QueueName,
    StepName,
};

use super::cell::{optional_uuid, parsed, text, time, uuid};
use super::{Cells, Unreadable, run_id_from_row};
use crate::clock::millis;
use crate::columns::{Column, fixed, nullable};
use crate::sql::Row;

/// The columns, in the order of [`intent_to_row`]; the row has the delay where the table has the time.
pub(crate) const INTENT_COLUMNS: &[Column] = &[
    fixed("run_id"),
    fixed("step"),
    fixed("queue"),
    fixed("priority"),
    fixed("fingerprint"),
    nullable("lease"),
    fixed("available_at"),
];

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
    vec![key.run_id.as_uuid().into(), step.into()]
}

/// What changes of an intent that another version takes over: the key, then the queue, priority and fingerprint.
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

/// A due intent, with its class in the order of claiming as `rank`.
pub(crate) fn due_intent_from_row(row: &impl Cells) -> Result<DueIntent, Unreadable> {
    let rank: i32 = row.cell("rank").ok_or_else(|| Unreadable::new("rank", "is not a small number"))?;
    let (fingerprint, queue) = (parsed(row, "fingerprint")?, parsed(row, "queue")?);
    let (priority, at) = (priority_from_row(row)?, time(row, "available_at")?);
    Ok(DueIntent::new(key_from_row(row)?, fingerprint, queue, priority, at, rank == 0))
}

/// An intent that could not be claimed, and whether it waits for its time.
pub(crate) fn intent_state_from_row(row: &impl Cells) -> Result<(IntentKey, bool), Unreadable> {
    let waits = row.cell("waits").ok_or_else(|| Unreadable::new("waits", "is no truth value"))?;
    Ok((key_from_row(row)?, waits))
}

pub(crate) fn intent_from_row(row: &impl Cells) -> Result<IntentRecord, Unreadable> {
    let lease = optional_uuid(row, "lease")?.map(LeaseToken::from_uuid);
    let at = time(row, "available_at")?;
    Ok(IntentRecord::new(key_from_row(row)?, parsed(row, "queue")?, priority_from_row(row)?, at, lease))
}

/// A row that is held.
pub(crate) fn lease_from_row(row: &impl Cells) -> Result<Lease, Unreadable> {
    Ok(Lease { key: key_from_row(row)?, token: LeaseToken::from_uuid(uuid(row, "lease")?) })
}

fn key_from_row(row: &impl Cells) -> Result<IntentKey, Unreadable> {
    let run_id = run_id_from_row(row, "run_id")?;
    let target = match text(row, "step")?.as_str() {
        "" => DispatchTarget::Compensation,
        _ => DispatchTarget::Step(parsed(row, "step")?),
    };
    Ok(IntentKey { run_id, target })
}

fn priority_from_row(row: &impl Cells) -> Result<Priority, Unreadable> {
    let rank: i16 = row.cell("priority").ok_or_else(|| Unreadable::new("priority", "is not a small number"))?;
    [Priority::High, Priority::Normal, Priority::Low]
        .into_iter()
        .find(|priority| priority.as_i16() == rank)
        .ok_or_else(|| Unreadable::new("priority", "has a rank that this version does not know"))
}
