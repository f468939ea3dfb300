//! Lists runs, newest first, a page at a time.

use sea_orm::ConnectionTrait;
use squidmesh_core::{RunFilter, RunPage, StoreError, Timestamp};

use crate::columns::names;
use crate::error::failed;
use crate::rows::{RUN_COLUMNS, run_from_row, run_id_from_row};
use crate::sql::Sql;

/// One page. A run that cannot be read is left out and logged: it must not hide the others.
pub(crate) async fn list<C: ConnectionTrait>(connection: &C, filter: &RunFilter) -> Result<RunPage, StoreError> {
    let size = filter.page_size();
    let sql = matching(Sql::on(connection), filter).push(" ORDER BY id DESC LIMIT ");
    let sql = sql.bind(i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows = sql.fetch(connection).await.map_err(failed("listing runs"))?;
    let more = rows.len() > size;
    rows.truncate(size);

    // An id that cannot be read is no place to go on from, and no reason to stop.
    let last = rows.iter().rev().find_map(|row| run_id_from_row(row, "id").ok());
    let mut runs = Vec::with_capacity(rows.len());
    for row in &rows {
        match run_from_row(row) {
            Ok(run) => runs.push(run),
            Err(unreadable) => {
                let id = run_id_from_row(row, "id").map(|id| id.to_string()).unwrap_or_default();
                tracing::error!(error = %unreadable.of(format!("run {id}")), "a run cannot be read and is not listed");
            }
        }
    }
    Ok(RunPage::new(runs, last.filter(|_| more)))
}

fn matching(sql: Sql, filter: &RunFilter) -> Sql {
    let mut sql = sql.push("SELECT ").push(&names(RUN_COLUMNS)).push(" FROM squidmesh_runs WHERE true");
    if let Some(workflow) = &filter.workflow {
        sql = sql.push(" AND workflow = ").bind(workflow.as_str());
    }
    if !filter.statuses.is_empty() {
        sql = sql.push(" AND status IN (").list(filter.statuses.iter().map(|status| status.as_str())).push(")");
    }
    if let Some(from) = filter.created_from {
        sql = sql.push(" AND created_at >= ").bind(Timestamp::as_millis(from));
    }
    if let Some(before) = filter.created_before {
        sql = sql.push(" AND created_at < ").bind(Timestamp::as_millis(before));
    }
    if let Some(after) = filter.after {
        sql = sql.push(" AND id < ").bind(after.as_uuid());
    }
    sql
}
