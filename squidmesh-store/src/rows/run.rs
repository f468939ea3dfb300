//! The table `squidmesh_runs`: one row per run.

use std::sync::Arc;

use squidmesh_core::port::{CommitToken, StoreError};
use squidmesh_core::run::{Failure, FailureSummary, ReceivedSignal, RunSummary};
use squidmesh_core::{Run, RunId};

use super::cell::{
    Columns, Unreadable, count, json, optional_json, optional_parsed, optional_text, optional_time, optional_uuid,
    parsed, time, to_count, to_json, to_millis, to_optional_json, to_optional_millis, uuid,
};

use crate::sql::{Column, Row, fixed, free_text, nullable, rare};

/// The columns, in the order of [`run_to_row`].
pub(crate) const RUN_COLUMNS: &[Column] = &[
    fixed("id"),
    fixed("workflow"),
    fixed("fingerprint"),
    fixed("trigger_name"),
    fixed("status"),
    fixed("payload"),
    nullable("current_step"),
    rare("last_error"),
    rare("replayed_from"),
    rare("resumed_from"),
    rare("intended_at"),
    free_text("idempotency_key"),
    fixed("revision"),
    fixed("token"),
    fixed("created_at"),
    fixed("updated_at"),
    rare("finished_at"),
    rare("failure"),
    rare("signals"),
];

/// The columns of a summary. A failure that was stored before there were summaries is summarised from the whole of it.
pub(crate) const SUMMARY_COLUMNS: &str = "id, workflow, fingerprint, trigger_name, status, current_step, failure, \
    CASE WHEN failure IS NULL THEN last_error END AS last_error, replayed_from, resumed_from, intended_at, \
    idempotency_key, revision, created_at, updated_at, finished_at";

/// The columns of [`changed_run_to_row`].
pub(crate) const CHANGED_RUN: &[Column] = &[
    fixed("run"),
    fixed("expected"),
    fixed("new_status"),
    nullable("new_step"),
    rare("new_error"),
    fixed("new_version"),
    fixed("new_revision"),
    fixed("new_token"),
    fixed("new_updated_at"),
    nullable("new_finished_at"),
    rare("new_failure"),
    rare("new_signals"),
];

/// On SQLite, a column may hold a value of any type: adds to a condition that a row has a valid id, so that it can be a
/// position to continue from.
pub(crate) const VALID_ID: &str = " AND typeof(id) = 'blob' AND length(id) = 16";

/// Encodes a new run, with the signals that it has received.
pub(crate) fn run_to_row(run: &Run, signals: Option<&[ReceivedSignal]>) -> Result<Row, StoreError> {
    Ok(vec![
        run.id.as_uuid().into(),
        run.workflow.as_str().into(),
        run.fingerprint.to_string().into(),
        run.trigger.as_str().into(),
        run.status.as_str().into(),
        to_json(&*run.payload)?.into(),
        run.current_step.as_ref().map(|step| step.as_str().to_owned()).into(),
        to_optional_json(run.last_error.as_ref())?.into(),
        run.replayed_from.map(|id| id.as_uuid()).into(),
        run.resumed_from.map(|id| id.as_uuid()).into(),
        to_optional_millis(run.intended_at).into(),
        run.idempotency_key.clone().into(),
        to_count(run.revision).into(),
        (*run.token.as_uuid()).into(),
        to_millis(run.created_at).into(),
        to_millis(run.updated_at).into(),
        to_optional_millis(run.finished_at).into(),
        failure_of(run)?.into(),
        to_optional_json(signals)?.into(),
    ])
}

fn failure_of(run: &Run) -> Result<Option<String>, StoreError> {
    to_optional_json(run.last_error.as_ref().map(FailureSummary::from).as_ref())
}

/// Encodes the changes to an existing run: its id, the revision that it must have, and the columns that change
/// (status, current step, last error, fingerprint, revision, token, updated at, finished at, failure, and the signals
/// if they change).
pub(crate) fn changed_run_to_row(
    run: &Run,
    expected: u64,
    signals: Option<&[ReceivedSignal]>,
) -> Result<Row, StoreError> {
    Ok(vec![
        run.id.as_uuid().into(),
        to_count(expected).into(),
        run.status.as_str().into(),
        run.current_step.as_ref().map(|step| step.as_str().to_owned()).into(),
        to_optional_json(run.last_error.as_ref())?.into(),
        run.fingerprint.to_string().into(),
        to_count(run.revision).into(),
        (*run.token.as_uuid()).into(),
        to_millis(run.updated_at).into(),
        to_optional_millis(run.finished_at).into(),
        failure_of(run)?.into(),
        to_optional_json(signals)?.into(),
    ])
}

pub(crate) fn run_id_from_row(row: &impl Columns, column: &'static str) -> Result<RunId, Unreadable> {
    uuid(row, column).map(RunId::from_uuid)
}

pub(crate) fn run_from_row(row: &impl Columns) -> Result<Run, Unreadable> {
    Ok(Run {
        id: run_id_from_row(row, "id")?,
        workflow: parsed(row, "workflow")?,
        fingerprint: parsed(row, "fingerprint")?,
        trigger: parsed(row, "trigger_name")?,
        status: parsed(row, "status")?,
        payload: Arc::new(json(row, "payload")?),
        current_step: optional_parsed(row, "current_step")?,
        last_error: optional_json(row, "last_error")?,
        replayed_from: optional_uuid(row, "replayed_from")?.map(RunId::from_uuid),
        resumed_from: optional_uuid(row, "resumed_from")?.map(RunId::from_uuid),
        intended_at: optional_time(row, "intended_at")?,
        idempotency_key: optional_text(row, "idempotency_key")?,
        revision: count(row, "revision")?,
        token: CommitToken::from_uuid(uuid(row, "token")?),
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}

/// Decodes the signals that a run has received.
pub(crate) fn signals_from_row(row: &impl Columns) -> Result<Vec<ReceivedSignal>, Unreadable> {
    Ok(optional_json(row, "signals")?.unwrap_or_default())
}

/// Decodes the [summary](SUMMARY_COLUMNS) of a run.
pub(crate) fn summary_from_row(row: &impl Columns) -> Result<RunSummary, Unreadable> {
    let whole: Option<Failure> = optional_json(row, "last_error")?;
    let mut summary = RunSummary::new(
        run_id_from_row(row, "id")?,
        parsed(row, "workflow")?,
        parsed(row, "fingerprint")?,
        parsed(row, "trigger_name")?,
        parsed(row, "status")?,
        time(row, "created_at")?,
    );
    summary.current_step = optional_parsed(row, "current_step")?;
    summary.failure = optional_json(row, "failure")?.or_else(|| whole.as_ref().map(FailureSummary::from));
    summary.replayed_from = optional_uuid(row, "replayed_from")?.map(RunId::from_uuid);
    summary.resumed_from = optional_uuid(row, "resumed_from")?.map(RunId::from_uuid);
    summary.intended_at = optional_time(row, "intended_at")?;
    summary.idempotency_key = optional_text(row, "idempotency_key")?;
    summary.revision = count(row, "revision")?;
    summary.updated_at = time(row, "updated_at")?;
    summary.finished_at = optional_time(row, "finished_at")?;
    Ok(summary)
}
