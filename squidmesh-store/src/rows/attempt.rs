//! The table `squidmesh_attempts`: one row per attempt that ended without completing its step.

use squidmesh_core::RunId;
use squidmesh_core::port::StoreError;
use squidmesh_core::run::{Attempt, AttemptStatus};

use super::cell::{
    Columns, Unreadable, count, optional_json, optional_time, parsed, time, to_millis, to_optional_json,
    to_optional_millis, word,
};

use crate::sql::{Column, Row, fixed, nullable};

/// The columns, in the order of [`attempt_to_row`].
pub(crate) const ATTEMPT_COLUMNS: &[Column] = &[
    fixed("run_id"),
    fixed("step"),
    fixed("number"),
    fixed("status"),
    nullable("error"),
    fixed("started_at"),
    nullable("finished_at"),
];

pub(crate) fn attempt_to_row(run: RunId, attempt: &Attempt) -> Result<Row, StoreError> {
    Ok(vec![
        run.as_uuid().into(),
        attempt.step.as_str().into(),
        i64::from(attempt.number).into(),
        attempt.status.as_str().into(),
        to_optional_json(attempt.error.as_ref())?.into(),
        to_millis(attempt.started_at).into(),
        to_optional_millis(attempt.finished_at).into(),
    ])
}

pub(crate) fn attempt_from_row(row: &impl Columns) -> Result<Attempt, Unreadable> {
    Ok(Attempt {
        step: parsed(row, "step")?,
        number: count(row, "number")?,
        status: word(row, "status", AttemptStatus::from_name)?,
        error: optional_json(row, "error")?,
        started_at: time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}
