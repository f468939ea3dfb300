//! The table `squidmesh_triggers`: one row for each cron trigger that a process ever looked at.

use squidmesh_core::{StoreError, TriggerRecord};

use super::cell::{count, json, optional_time, parsed, to_count, to_json, to_optional_millis};
use super::{Cells, Unreadable};
use crate::sql::Row;

/// The columns, in the order of [`trigger_to_row`].
pub(crate) const TRIGGER_COLUMNS: &[&str] = &["workflow", "trigger_name", "paused_at", "positions", "revision"];

pub(crate) fn trigger_to_row(record: &TriggerRecord) -> Result<Row, StoreError> {
    Ok(vec![
        record.workflow.as_str().into(),
        record.trigger.as_str().into(),
        to_optional_millis(record.paused_at).into(),
        to_json(&record.positions)?.into(),
        to_count(record.revision).into(),
    ])
}

pub(crate) fn trigger_from_row(row: &impl Cells) -> Result<TriggerRecord, Unreadable> {
    let mut record = TriggerRecord::new(parsed(row, "workflow")?, parsed(row, "trigger_name")?);
    record.paused_at = optional_time(row, "paused_at")?;
    record.positions = json(row, "positions")?;
    record.revision = count(row, "revision")?;
    Ok(record)
}
