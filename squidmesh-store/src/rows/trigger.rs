//! The table `squidmesh_triggers`: one row per cron trigger that a process has ever evaluated.

use squidmesh_core::port::StoreError;
use squidmesh_core::schedule::{TriggerNotes, TriggerRecord};

use super::cell::{
    Columns, Unreadable, count, json, optional_json, optional_time, parsed, to_count, to_json, to_optional_json,
    to_optional_millis,
};

use crate::sql::Row;

/// The columns, in the order of [`trigger_to_row`].
pub(crate) const TRIGGER_COLUMNS: &[&str] =
    &["workflow", "trigger_name", "paused_at", "positions", "notes", "revision"];

pub(crate) fn trigger_to_row(record: &TriggerRecord) -> Result<Row, StoreError> {
    Ok(vec![
        record.workflow.as_str().into(),
        record.trigger.as_str().into(),
        to_optional_millis(record.paused_at).into(),
        to_json(&record.positions)?.into(),
        to_optional_json(Some(&record.notes).filter(|notes| **notes != TriggerNotes::default()))?.into(),
        to_count(record.revision).into(),
    ])
}

pub(crate) fn trigger_from_row(row: &impl Columns) -> Result<TriggerRecord, Unreadable> {
    let mut record = TriggerRecord::new(parsed(row, "workflow")?, parsed(row, "trigger_name")?);
    record.paused_at = optional_time(row, "paused_at")?;
    record.positions = json(row, "positions")?;
    record.notes = optional_json(row, "notes")?.unwrap_or_default();
    record.revision = count(row, "revision")?;
    Ok(record)
}
