//! Lists runs, newest first, one page at a time.
//!
//! A time span is a span of ids, because ids begin with their time of creation; the few whose ids differ have an
//! index of their own. For a workflow or status, the newest runs are examined first, since most pages are filled
//! from them; rarer ones are found by the index on workflows and statuses. The cost of a page does not depend on
//! the length of the history, nor on the size of payloads and failures, which are not read.

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::port::{RunPage, StoreError};
use squidmesh_core::{RunFilter, RunStatus, Timestamp};

use crate::database::Database;
use crate::error::failed;
use crate::rows::{SUMMARY_COLUMNS, VALID_ID, run_id_from_row, summary_from_row};
use crate::sql::{Kept, Sql};

/// The number of newest runs to examine per requested run.
const EXAMINED_PER_RUN: usize = 8;

/// Returns one page, read from one snapshot of the database, so that a page that is empty was empty at one moment. Must
/// be called in a task that is not cancelled.
pub(crate) async fn in_snapshot(database: &Database, filter: &RunFilter) -> Result<RunPage, StoreError> {
    let snapshot = database.reader().begin_reading().await.map_err(failed("listing runs"))?;
    let page = list(&snapshot, filter).await;
    // Nothing was written, so how the transaction ends does not matter to the answer.
    if let Err(error) = snapshot.rollback().await {
        tracing::debug!(%error, "the end of a snapshot was not confirmed");
    }
    page
}

/// Returns one page. An unreadable run is skipped and logged: it must not hide the others.
pub(crate) async fn list<C: ConnectionTrait>(connection: &C, filter: &RunFilter) -> Result<RunPage, StoreError> {
    let size = filter.page_size();
    let mut rows = found(connection, filter, size + 1).await.map_err(failed("listing runs"))?;
    let more = rows.len() > size;
    rows.truncate(size);

    let last = rows.iter().rev().find_map(|row| run_id_from_row(row, "id").ok());
    let mut runs = Vec::with_capacity(rows.len());
    for row in &rows {
        match summary_from_row(row) {
            Ok(run) => runs.push(run),
            Err(unreadable) => {
                let id = run_id_from_row(row, "id").map(|id| id.to_string()).unwrap_or_default();
                tracing::error!(error = %unreadable.of(format!("run {id}")), "a run cannot be read and is not listed");
            }
        }
    }
    Ok(RunPage { runs, next: last.filter(|_| more) })
}

/// Returns up to `limit` matching rows, newest first.
async fn found<C: ConnectionTrait>(
    connection: &C,
    filter: &RunFilter,
    limit: usize,
) -> Result<Vec<QueryResult>, DbErr> {
    let span = Span::of(filter);
    let is_any = filter.workflow.is_none() && filter.statuses.is_empty();
    let look = if is_any { limit } else { limit.saturating_mul(EXAMINED_PER_RUN) };
    let mut rows = newest(Sql::on(connection), filter, span, (look, limit)).fetch(connection).await?;
    // In a host's transaction, which may read no snapshot, runs that start between two of these queries move the edge
    // towards newer runs: what is older than the edge then overlaps with what was examined, and no run is in neither.
    if !is_any
        && rows.len() < limit
        && let Some(edge) = edge(connection, span, look).await?
    {
        let older = Span { before: Some(edge), ..span };
        rows.extend(of_kinds(Sql::numbered(connection), filter, older, limit).fetch(connection).await?);
    }
    if filter.created_from.is_some() || filter.created_before.is_some() {
        rows.extend(odd(Sql::on(connection), filter, limit).fetch(connection).await?);
    }
    let id = |row: &QueryResult| row.try_get_by::<Uuid, _>("id").ok();
    rows.sort_by_cached_key(|row| std::cmp::Reverse(id(row)));
    rows.dedup_by_key(|row| id(row));
    rows.truncate(limit);
    Ok(rows)
}

/// A span of ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The lower bound, inclusive.
    from: Option<Uuid>,
    /// The upper bound, exclusive.
    before: Option<Uuid>,
}

impl Span {
    /// Returns the span of the ids that may match, except for odd ones.
    pub(crate) fn of(filter: &RunFilter) -> Span {
        let after = filter.after.map(|run| run.as_uuid());
        let created_before = filter.created_before.and_then(first_id_of);
        let before = [after, created_before].into_iter().flatten().min();
        Span { from: filter.created_from.and_then(first_id_of), before }
    }

    /// Adds the span to a condition.
    fn condition(self, sql: Sql) -> Sql {
        let mut sql = sql.on_sqlite(VALID_ID);
        if let Some(from) = self.from {
            sql = sql.push(" AND id >= ").bind(from);
        }
        if let Some(before) = self.before {
            sql = sql.push(" AND id < ").bind(before);
        }
        sql
    }
}

/// Returns the first id that can be created at a time, if ids reach that far.
fn first_id_of(time: Timestamp) -> Option<Uuid> {
    const REACH: u64 = 1 << 48;
    let millis = u64::try_from(time.as_millis()).unwrap_or(0);
    (millis < REACH).then(|| Uuid::from_u128(u128::from(millis) << 80))
}

/// Adds the condition that the time in a run's id differs from that of its start. The text is that of the index.
fn is_odd(sql: Sql) -> Sql {
    let text = if sql.is_postgres() { ODD_ON_POSTGRES } else { ODD_ON_SQLITE };
    sql.push(text)
}

/// The expression of the index on Postgres; see the migration.
pub(crate) const ODD_ON_POSTGRES: &str =
    "substr(replace(id::text, '-', ''), 1, 12) <> lpad(to_hex(created_at), 12, '0')";
/// The expression of the index on SQLite; see the migration.
pub(crate) const ODD_ON_SQLITE: &str = "substr(hex(id), 1, 12) <> printf('%012X', created_at)";

/// Returns the last of the newest `look` runs, or `None` if there are fewer.
async fn edge<C: ConnectionTrait>(connection: &C, span: Span, look: usize) -> Result<Option<Uuid>, DbErr> {
    let sql = span.condition(Sql::on(connection).push("SELECT id FROM squidmesh_runs WHERE true"));
    let sql = sql.push(" ORDER BY id DESC LIMIT 1 OFFSET ").bind(number(look).saturating_sub(1)).on_sqlite(" + 0");
    let rows = sql.fetch(connection).await?;
    rows.first().map(|row| row.try_get_by("id")).transpose()
}

/// Returns the matching rows among the newest `look` runs, up to `limit`.
///
/// The rows of the inner query come in its order, one at a time.
pub(crate) fn newest(sql: Sql, filter: &RunFilter, span: Span, (look, limit): (usize, usize)) -> Sql {
    let sql = sql.push(&format!("SELECT * FROM (SELECT {SUMMARY_COLUMNS} FROM squidmesh_runs WHERE true"));
    let sql = in_time(span.condition(sql), filter).push(" ORDER BY id DESC LIMIT ").bind(number(look));
    let sql = in_kind(sql.on_sqlite(" + 0").push(") AS newest WHERE true"), filter).on_postgres(" ORDER BY id DESC");
    sql.push(" LIMIT ").bind(number(limit)).on_sqlite(" + 0")
}

/// Returns the matching runs with odd ids. There are hardly any.
fn odd(sql: Sql, filter: &RunFilter, limit: usize) -> Sql {
    let sql = sql.push("WITH odd AS MATERIALIZED (SELECT ").push(SUMMARY_COLUMNS);
    let sql = in_time(is_odd(sql.push(" FROM squidmesh_runs WHERE ")), filter).push(" ORDER BY created_at");
    let sql = sql.push(") SELECT * FROM odd WHERE true");
    let of_span = Span::of(filter);
    let after = Span { from: None, before: filter.after.map(|run| run.as_uuid()) };
    let sql = after.condition(in_kind(sql, filter)).push(" AND NOT (true");
    let sql = of_span.condition(sql).push(") ORDER BY id DESC LIMIT ");
    sql.bind(number(limit)).on_sqlite(" + 0")
}

fn in_kind(mut sql: Sql, filter: &RunFilter) -> Sql {
    if let Some(workflow) = &filter.workflow {
        sql = sql.push(" AND workflow = ").bind(workflow.as_str());
    }
    let statuses = statuses(filter);
    if statuses.len() < RunStatus::ALL.len() {
        sql = sql.push(" AND status IN (").list(statuses).push(")");
    }
    sql
}

fn in_time(mut sql: Sql, filter: &RunFilter) -> Sql {
    if let Some(from) = filter.created_from {
        sql = sql.push(" AND created_at >= ").bind(from.as_millis());
    }
    if let Some(before) = filter.created_before {
        sql = sql.push(" AND created_at < ").bind(before.as_millis());
    }
    sql
}

/// Returns the requested statuses, each once.
fn statuses(filter: &RunFilter) -> Vec<&'static str> {
    let wanted =
        RunStatus::ALL.into_iter().filter(|status| filter.statuses.is_empty() || filter.statuses.contains(status));
    wanted.map(RunStatus::as_str).collect()
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Returns the matching runs by workflow and status. Of the pairs of workflow and status, it considers the `limit`
/// with the newest runs: no other pair can have a newer run.
pub(crate) fn of_kinds(sql: Sql, filter: &RunFilter, span: Span, limit: usize) -> Sql {
    let (sql, statuses) = sql.keep_texts(statuses(filter).into_iter().map(str::to_owned));
    let (sql, limit) = sql.keep(number(limit));
    let (sql, from) = sql.keep(span.from.unwrap_or(Uuid::nil()));
    let (sql, before) = sql.keep(span.before.unwrap_or(Uuid::max()));
    let sql = sql.push("WITH RECURSIVE workflows(workflow_name) AS (SELECT ");
    let sql = match &filter.workflow {
        Some(workflow) => sql.bind(workflow.as_str()).on_postgres("::text COLLATE \"C\""),
        None => sql.push(EVERY_WORKFLOW),
    };
    let sql = sql.push("), head AS MATERIALIZED (SELECT workflow_name, value AS head_status, (");
    let sql = of_kind(sql, "value", (from, before), None).push("1) AS head_id FROM workflows CROSS JOIN ");
    let sql = sql.table_of(statuses).push(" WHERE workflow_name IS NOT NULL), first AS MATERIALIZED (");
    let sql = sql.push("SELECT * FROM head WHERE head_id IS NOT NULL ORDER BY head_id DESC LIMIT ").put(limit);
    let sql = sql.push(" + 0), matched(matched_id) AS MATERIALIZED (");
    let newest = |sql: Sql| of_kind(sql, "head_status", (from, before), Some(filter)).put(limit).push(" + 0");
    let sql = if sql.is_postgres() {
        newest(sql.push("SELECT id FROM first CROSS JOIN LATERAL (")).push(") AS newest")
    } else {
        newest(sql.push("SELECT run.id FROM first CROSS JOIN squidmesh_runs AS run WHERE run.id IN (")).push(")")
    };
    let sql = sql.push(" ORDER BY id DESC LIMIT ").put(limit).push(" + 0) SELECT ").push(SUMMARY_COLUMNS);
    let sql = if sql.is_postgres() {
        sql.push(
            " FROM matched CROSS JOIN LATERAL (SELECT * FROM squidmesh_runs WHERE id = matched_id OFFSET 0) AS run",
        )
    } else {
        sql.push(" FROM matched CROSS JOIN squidmesh_runs WHERE id = matched_id")
    };
    sql.push(" ORDER BY id DESC")
}

/// Enumerates the workflows that have runs, one index lookup after another.
const EVERY_WORKFLOW: &str = "min(workflow) FROM squidmesh_runs UNION ALL \
    SELECT (SELECT min(workflow) FROM squidmesh_runs WHERE workflow > workflow_name) FROM workflows \
    WHERE workflow_name IS NOT NULL";

/// Selects the ids of a workflow and status in a span, newest first, up to a limit that follows. On Postgres, they
/// are compared and sorted by all columns of the index, which no other index serves as well; SQLite takes the
/// index whose columns are bound.
fn of_kind(sql: Sql, status: &str, (from, before): (Kept, Kept), filter: Option<&RunFilter>) -> Sql {
    let (least, most, order) = if sql.is_postgres() {
        (
            format!("(workflow, status, id) >= (workflow_name, {status}, "),
            format!(") AND (workflow, status, id) < (workflow_name, {status}, "),
            ") ORDER BY workflow DESC, status DESC, id DESC LIMIT ",
        )
    } else {
        let least = format!("workflow = workflow_name AND status = {status} AND id >= ");
        (least, " AND id < ".to_owned(), " ORDER BY id DESC LIMIT ")
    };
    let sql = sql.push("SELECT id FROM squidmesh_runs WHERE true").on_sqlite(VALID_ID);
    let sql = filter.into_iter().fold(sql, in_time).push(" AND ").push(&least).put(from);
    sql.push(&most).put(before).push(order)
}
