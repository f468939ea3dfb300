//! Deletes ended runs, a bounded batch per transaction.
//!
//! Walks the runs in the order of their ids, which is roughly the order in which they were started, and stops
//! where none is old enough: no index on the time of ending is kept for this. Locks the runs first, like every
//! other transaction, and skips those that another transaction has locked.

use std::collections::HashSet;

use sea_orm::prelude::Uuid;
use sea_orm::{DbErr, QueryResult};
use squidmesh_core::RunId;
use squidmesh_core::port::{PruneBatch, PruneRequest, StoreError};

use crate::clock::{StoreClock, millis};
use crate::database::Database;
use crate::error::{commit_failed, failed};
use crate::rows::VALID_ID;
use crate::sql::Sql;

const DOING: &str = "pruning runs";
/// The number of runs to examine for one batch.
const PAGE_SIZE: usize = 500;
/// The approximate number of rows of step runs, attempts and audit trails to delete in one transaction. A single
/// run may have more.
const MAX_ROWS: i64 = 5_000;

/// The tables that hold the data of a run besides its own row.
const PARTS: [&str; 3] = ["squidmesh_step_runs", "squidmesh_attempts", "squidmesh_audit"];

/// Deletes one batch. Must be called in a task that is not cancelled.
pub(crate) async fn prune(database: &Database, request: &PruneRequest) -> Result<PruneBatch, StoreError> {
    if request.statuses.is_empty() || request.limit == 0 {
        return Ok(PruneBatch::default());
    }
    let page = page(Sql::on(database.reader()), &database.clock, request);
    let page = page.fetch(database.reader()).await.map_err(failed(DOING))?;
    let Batch { runs, next } = batch(&page, request.limit).map_err(failed(DOING))?;
    let next = next.map(RunId::from_uuid);
    if request.dry_run || runs.is_empty() {
        return Ok(PruneBatch::new(runs.len(), next));
    }
    let deleted = delete(database, request, runs).await?;
    Ok(PruneBatch::new(deleted, next))
}

/// Selects the next runs in order: whether each is old enough to be considered, and, if it may be deleted, its
/// number of rows.
pub(crate) fn page(sql: Sql, clock: &StoreClock, request: &PruneRequest) -> Sql {
    let sql = sql
        .push("WITH run AS MATERIALIZED (SELECT id, status, resumed_from, created_at, finished_at FROM squidmesh_runs ")
        .push("WHERE true")
        .on_sqlite(VALID_ID);
    let sql = match request.after {
        Some(after) => sql.push(" AND id > ").bind(after.as_uuid()),
        None => sql,
    };
    let sql = sql.push(" ORDER BY id LIMIT ").bind(i64::try_from(PAGE_SIZE).unwrap_or(i64::MAX));
    let sql = ended_before(sql.push(") SELECT id, CASE WHEN "), "created_at", clock, request);
    let sql = deletable(sql.push(" THEN 1 ELSE 0 END AS is_old, CASE WHEN "), clock, request);
    let counts = PARTS.map(|part| format!("(SELECT count(*) FROM {part} WHERE run_id = run.id)"));
    sql.push(" THEN ").push(&counts.join(" + ")).push(" END AS row_count FROM run ORDER BY id")
}

/// The runs of one transaction, and the position at which to continue.
struct Batch {
    runs: Vec<Uuid>,
    next: Option<Uuid>,
}

fn batch(page: &[QueryResult], limit: usize) -> Result<Batch, DbErr> {
    let (mut runs, mut rows, mut last, mut any_old) = (Vec::new(), 0, None, false);
    for row in page {
        let id: Uuid = row.try_get_by("id")?;
        if let Some(count) = row.try_get_by::<Option<i64>, _>("row_count")? {
            if runs.len() == limit || (!runs.is_empty() && rows + count > MAX_ROWS) {
                return Ok(Batch { runs, next: last });
            }
            rows += count;
            runs.push(id);
        }
        any_old |= row.try_get_by::<i32, _>("is_old")? != 0;
        last = Some(id);
    }
    let next = last.filter(|_| page.len() == PAGE_SIZE && any_old);
    Ok(Batch { runs, next })
}

/// Deletes those of the given runs that may still be deleted, and returns their number.
async fn delete(database: &Database, request: &PruneRequest, runs: Vec<Uuid>) -> Result<usize, StoreError> {
    let transaction = database.begin().await.map_err(failed(DOING))?;
    let deleted = async {
        let lock = Sql::on(&transaction).push("SELECT id FROM squidmesh_runs WHERE id").one_of(runs);
        let locked =
            ids(&lock.push(" ORDER BY id").on_postgres(" FOR UPDATE SKIP LOCKED").fetch(&transaction).await?)?;
        if locked.is_empty() {
            return Ok(0);
        }
        // Checked again, now that the runs are locked.
        let sql = still_deletable(Sql::on(&transaction), &database.clock, request, locked);
        let runs = ids(&sql.fetch(&transaction).await?)?;
        if runs.is_empty() {
            return Ok(0);
        }
        for part in PARTS {
            let sql = Sql::on(&transaction).push(&format!("DELETE FROM {part} WHERE run_id"));
            sql.one_of(runs.iter().copied()).execute(&transaction).await?;
        }
        Sql::on(&transaction).push("DELETE FROM squidmesh_runs WHERE id").one_of(runs).execute(&transaction).await
    };
    let deleted: Result<u64, DbErr> = deleted.await;
    let deleted = deleted.map_err(failed(DOING))?;
    transaction.commit().await.map_err(commit_failed)?;
    Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
}

/// Selects those of the given runs that may be deleted.
pub(crate) fn still_deletable(sql: Sql, clock: &StoreClock, request: &PruneRequest, runs: HashSet<Uuid>) -> Sql {
    let sql = sql.push("SELECT id FROM squidmesh_runs AS run WHERE id").one_of(runs);
    deletable(sql.push(" AND "), clock, request)
}

fn ids(rows: &[QueryResult]) -> Result<HashSet<Uuid>, DbErr> {
    rows.iter().map(|row| row.try_get_by("id")).collect()
}

/// Adds the condition under which the row `run` may be deleted.
fn deletable(sql: Sql, clock: &StoreClock, request: &PruneRequest) -> Sql {
    let statuses = request.statuses.iter().map(|status| status.as_str());
    let sql = sql.push("(run.status IN (").list(statuses).push(") AND run.finished_at IS NOT NULL AND ");
    let mut sql = ended_before(sql, "finished_at", clock, request);
    // No work may be left to deliver, such as a compensation.
    sql = sql.push(" AND ").push(&none("squidmesh_intents WHERE run_id = run.id"));
    for origin in ["replayed_from", "resumed_from"] {
        let unended =
            format!("squidmesh_runs AS younger WHERE younger.{origin} = run.id AND younger.finished_at IS NULL");
        sql = sql.push(" AND ").push(&none(&unended));
    }
    // A failed run is resumed at most once: while it is kept, so is the run that records its resumption.
    let kept = none("squidmesh_runs AS older WHERE older.id = run.resumed_from");
    sql.push(" AND (run.resumed_from IS NULL OR ").push(&kept).push("))")
}

/// Returns the condition that a table has no such row.
///
/// Postgres may answer `NOT EXISTS` for all runs at once, from a hash of the whole table. It answers this one by
/// one, by index.
fn none(rows: &str) -> String {
    format!("(SELECT 1 FROM {rows} LIMIT 1) IS NULL")
}

fn ended_before(sql: Sql, column: &str, clock: &StoreClock, request: &PruneRequest) -> Sql {
    let sql = clock.now(sql.push(&format!("run.{column} <= ")));
    sql.push(" - ").bind(millis(request.older_than))
}
