//! The table `squidmesh_step_runs`: one row per step that a run has reached.

use std::sync::Arc;

use squidmesh_core::RunId;
use squidmesh_core::definition::RecoveryRoute;
use squidmesh_core::port::{LeaseToken, StoreError};
use squidmesh_core::run::{InputSnapshot, StepRun, StepStatus};

use super::cell::{
    Columns, Unreadable, count, json, optional_count, optional_json, optional_time, optional_uuid, parsed, time,
    to_count, to_json, to_millis, to_optional_json, to_optional_millis, word,
};

use crate::sql::{Column, Row, fixed, nullable, rare};

/// The columns, in the order of [`step_run_to_row`].
pub(crate) const STEP_RUN_COLUMNS: &[Column] = &[
    fixed("run_id"),
    fixed("step"),
    fixed("status"),
    rare("output"),
    rare("last_error"),
    fixed("attempt"),
    fixed("failures"),
    fixed("crashes"),
    nullable("lease"),
    rare("sequence"),
    rare("successors_at"),
    rare("resume"),
    rare("manual"),
    rare("routes"),
    rare("taken"),
    rare("compensation"),
    nullable("started_at"),
    nullable("attempt_started_at"),
    rare("finished_at"),
    fixed("input_snapshot"),
    fixed("recovery"),
    fixed("created_at"),
];

/// The columns of [`changed_step_run_to_row`].
pub(crate) const CHANGED_STEP_RUN: &[Column] = &[
    fixed("run"),
    fixed("name"),
    fixed("new_status"),
    nullable("new_output"),
    rare("new_error"),
    fixed("new_attempt"),
    fixed("new_failures"),
    fixed("new_crashes"),
    nullable("new_lease"),
    nullable("new_sequence"),
    rare("new_successors_at"),
    rare("new_resume"),
    rare("new_manual"),
    rare("new_routes"),
    rare("new_taken"),
    rare("new_compensation"),
    nullable("new_started_at"),
    nullable("new_attempt_started_at"),
    nullable("new_finished_at"),
    rare("new_input"),
];

/// Encodes a new step run.
pub(crate) fn step_run_to_row(run: RunId, step: &StepRun) -> Result<Row, StoreError> {
    let mut row = changing_part(run, step)?;
    row.extend([to_json(&step.input)?.into(), to_json(&step.recovery)?.into(), to_millis(step.created_at).into()]);
    Ok(row)
}

/// Encodes a changed step run, and its input if that is stored anew. The recovery policy and the time of creation never
/// change.
pub(crate) fn changed_step_run_to_row(
    run: RunId,
    step: &StepRun,
    input: Option<&InputSnapshot>,
) -> Result<Row, StoreError> {
    let mut row = changing_part(run, step)?;
    row.push(to_optional_json(input)?.into());
    Ok(row)
}

fn changing_part(run: RunId, step: &StepRun) -> Result<Row, StoreError> {
    let routes = Some(&step.routes).filter(|routes| !routes.is_empty());
    // With room for the columns of a new step run, so that the row does not move when they are added.
    let mut row = Vec::with_capacity(STEP_RUN_COLUMNS.len());
    row.extend([
        run.as_uuid().into(),
        step.step.as_str().into(),
        step.status.as_str().into(),
        to_optional_json(step.output.as_deref())?.into(),
        to_optional_json(step.last_error.as_ref())?.into(),
        i64::from(step.attempt).into(),
        i64::from(step.failures).into(),
        i64::from(step.crashes).into(),
        step.lease.map(|lease| *lease.as_uuid()).into(),
        step.sequence.map(to_count).into(),
        to_optional_millis(step.successors_at).into(),
        to_optional_json(step.continuation.as_ref())?.into(),
        to_optional_json(step.manual.as_ref())?.into(),
        to_optional_json(routes)?.into(),
        to_optional_json(step.taken.as_ref())?.into(),
        to_optional_json(step.compensation.as_ref())?.into(),
        to_optional_millis(step.started_at).into(),
        to_optional_millis(step.attempt_started_at).into(),
        to_optional_millis(step.finished_at).into(),
    ]);
    Ok(row)
}

pub(crate) fn step_run_from_row(row: &impl Columns) -> Result<StepRun, Unreadable> {
    Ok(StepRun {
        step: parsed(row, "step")?,
        status: word(row, "status", StepStatus::from_name)?,
        input: json(row, "input_snapshot")?,
        recovery: json(row, "recovery")?,
        output: optional_json(row, "output")?.map(Arc::new),
        last_error: optional_json(row, "last_error")?,
        attempt: count(row, "attempt")?,
        failures: count(row, "failures")?,
        crashes: count(row, "crashes")?,
        lease: optional_uuid(row, "lease")?.map(LeaseToken::from_uuid),
        sequence: optional_count(row, "sequence")?,
        successors_at: optional_time(row, "successors_at")?,
        continuation: optional_json(row, "resume")?,
        manual: optional_json(row, "manual")?,
        routes: optional_json::<Vec<RecoveryRoute>>(row, "routes")?.unwrap_or_default(),
        taken: optional_json(row, "taken")?,
        compensation: optional_json(row, "compensation")?,
        created_at: time(row, "created_at")?,
        started_at: optional_time(row, "started_at")?,
        attempt_started_at: optional_time(row, "attempt_started_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}
