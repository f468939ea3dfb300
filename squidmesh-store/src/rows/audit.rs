//! The table `squidmesh_audit`: one row per entry of a run's audit trail.

use squidmesh_core::RunId;
use squidmesh_core::port::StoreError;
use squidmesh_core::run::{AuditEvent, AuditKind};

use super::cell::{
    Columns, Unreadable, count, optional_json, optional_parsed, optional_text, time, to_count, to_millis,
    to_optional_json, word,
};

use crate::sql::{Column, Row, fixed, free_text, nullable};

/// The columns, in the order of [`audit_to_row`].
pub(crate) const AUDIT_COLUMNS: &[Column] = &[
    fixed("run_id"),
    fixed("revision"),
    fixed("ordinal"),
    fixed("kind"),
    nullable("step"),
    free_text("actor"),
    free_text("comment"),
    nullable("metadata"),
    fixed("occurred_at"),
];

/// Encodes the entry at position `ordinal` among those of its commit.
pub(crate) fn audit_to_row(run: RunId, ordinal: usize, event: &AuditEvent) -> Result<Row, StoreError> {
    Ok(vec![
        run.as_uuid().into(),
        to_count(event.revision).into(),
        i64::try_from(ordinal).unwrap_or(i64::MAX).into(),
        event.kind.as_str().into(),
        event.step.as_ref().map(|step| step.as_str().to_owned()).into(),
        event.actor.clone().into(),
        event.comment.clone().into(),
        to_optional_json(event.metadata.as_ref())?.into(),
        to_millis(event.at).into(),
    ])
}

pub(crate) fn audit_from_row(row: &impl Columns) -> Result<AuditEvent, Unreadable> {
    let kind = word(row, "kind", AuditKind::from_name)?;
    let mut event = AuditEvent::new(kind, count(row, "revision")?, time(row, "occurred_at")?);
    event.step = optional_parsed(row, "step")?;
    event.actor = optional_text(row, "actor")?;
    event.comment = optional_text(row, "comment")?;
    event.metadata = optional_json(row, "metadata")?;
    Ok(event)
}
