//! Deletes ended runs, a bounded batch in each transaction.
//!
//! Walks the runs in the order of their ids, which is by and large that in which they were started, and stops where none is old
//! enough any more: no index on the time of ending is kept for this. Locks the runs first, as everybody does, and leaves alone those
//! that somebody else has locked.

use std::collections::HashSet;

use sea_orm::prelude::Uuid;
use sea_orm::{DbErr, QueryResult};
use squidmesh_core::{PruneRequest, Pruned, RunId, StoreError};

use crate::clock::millis;
use crate::database::Database;
use crate::error::{commit_failed, failed};
use crate::sql::Sql;

const DOING: &str = "pruning runs";
/// How many runs are looked at for one batch.
const LOOK: usize = 500;
/// How many rows of step runs, attempts and audit trails are deleted in one transaction, by and large. A single run may have more.
const ROWS: i64 = 5_000;

/// What is kept of a run besides its own row.
const PARTS: [&str; 3] = ["squidmesh_step_runs", "squidmesh_attempts", "squidmesh_audit"];

/// Deletes one batch. Call this in a task that is not cancelled.
pub(crate) async fn prune(database: &Database, request: &PruneRequest) -> Result<Pruned, StoreError> {
    if request.statuses.is_empty() || request.limit == 0 {
        return Ok(Pruned::default());
    }
    let page = page(database, request).await.map_err(failed(DOING))?;
    let Batch { runs, next } = batch(&page, request.limit).map_err(failed(DOING))?;
    let next = next.map(RunId::from_uuid);
    if request.dry_run || runs.is_empty() {
        return Ok(Pruned::new(runs.len(), next));
    }
    let deleted = delete(database, request, runs).await?;
    Ok(Pruned::new(deleted, next))
}

/// The next runs in order: whether each is old enough to be looked for at all, and, if it may be deleted, how many rows it has.
async fn page(database: &Database, request: &PruneRequest) -> Result<Vec<QueryResult>, DbErr> {
    let connection = database.reader();
    let sql = Sql::on(connection)
        .push("WITH run AS MATERIALIZED (SELECT id, status, resumed_from, created_at, finished_at FROM squidmesh_runs");
    let sql = match request.after {
        Some(after) => sql.push(" WHERE id > ").bind(after.as_uuid()),
        None => sql,
    };
    let sql = sql.push(" ORDER BY id LIMIT ").bind(i64::try_from(LOOK).unwrap_or(i64::MAX));
    let sql = ended_before(sql.push(") SELECT id, CASE WHEN "), "created_at", database, request);
    let sql = deletable(sql.push(" THEN 1 ELSE 0 END AS is_old, CASE WHEN "), database, request);
    let counts = PARTS.map(|part| format!("(SELECT count(*) FROM {part} WHERE run_id = run.id)"));
    let sql = sql.push(" THEN ").push(&counts.join(" + ")).push(" END AS row_count FROM run ORDER BY id");
    sql.fetch(connection).await
}

/// The runs of one transaction, and where to go on behind them.
struct Batch {
    runs: Vec<Uuid>,
    next: Option<Uuid>,
}

fn batch(page: &[QueryResult], limit: usize) -> Result<Batch, DbErr> {
    let (mut runs, mut rows, mut last, mut any_old) = (Vec::new(), 0, None, false);
    for row in page {
        let id: Uuid = row.try_get_by("id")?;
        if let Some(count) = row.try_get_by::<Option<i64>, _>("row_count")? {
            if runs.len() == limit || (!runs.is_empty() && rows + count > ROWS) {
                return Ok(Batch { runs, next: last });
            }
            rows += count;
            runs.push(id);
        }
        any_old |= row.try_get_by::<i32, _>("is_old")? != 0;
        last = Some(id);
    }
    let next = last.filter(|_| page.len() == LOOK && any_old);
    Ok(Batch { runs, next })
}

/// Deletes those of these runs that may still be deleted, and tells how many they were.
async fn delete(database: &Database, request: &PruneRequest, runs: Vec<Uuid>) -> Result<usize, StoreError> {
    let transaction = database.begin().await.map_err(failed(DOING))?;
    let deleted = async {
        let lock = Sql::on(&transaction).push("SELECT id FROM squidmesh_runs WHERE id").one_of(runs);
        let locked =
            ids(&lock.push(" ORDER BY id").on_postgres(" FOR UPDATE SKIP LOCKED").fetch(&transaction).await?)?;
        if locked.is_empty() {
            return Ok(0);
        }
        // Looked at once more, now that nobody can change them.
        let sql = Sql::on(&transaction).push("SELECT id FROM squidmesh_runs AS run WHERE id").one_of(locked);
        let runs = ids(&deletable(sql.push(" AND "), database, request).fetch(&transaction).await?)?;
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

fn ids(rows: &[QueryResult]) -> Result<HashSet<Uuid>, DbErr> {
    rows.iter().map(|row| row.try_get_by("id")).collect()
}

/// The condition under which the row `run` may be deleted.
fn deletable(sql: Sql, database: &Database, request: &PruneRequest) -> Sql {
    let statuses = request.statuses.iter().map(|status| status.as_str());
    let sql = sql.push("(run.status IN (").list(statuses).push(") AND run.finished_at IS NOT NULL AND ");
    let mut sql = ended_before(sql, "finished_at", database, request);
    // What is left to be delivered for it, such as its compensation.
    sql = sql.push(" AND NOT EXISTS (SELECT 1 FROM squidmesh_intents WHERE run_id = run.id)");
    for origin in ["replayed_from", "resumed_from"] {
        sql = sql.push(&format!(
            " AND NOT EXISTS (SELECT 1 FROM squidmesh_runs AS younger WHERE younger.{origin} = run.id \
             AND younger.finished_at IS NULL)"
        ));
    }
    // A failed run goes on once: for as long as it is kept, so is the run that shows that it did.
    sql.push(" AND (run.resumed_from IS NULL OR NOT EXISTS (SELECT 1 FROM squidmesh_runs AS older WHERE older.id = run.resumed_from)))")
}

fn ended_before(sql: Sql, column: &str, database: &Database, request: &PruneRequest) -> Sql {
    let sql = database.clock().now(sql.push(&format!("run.{column} <= ")));
    sql.push(" - ").bind(millis(request.older_than))
}
