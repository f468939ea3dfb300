//! Finds runs whose work lies because only a version that the asking process does not have can carry it out.
//!
//! Walks the index by which work is claimed, over what has been due for long: there is little of that, whatever else waits.
//! Knows nothing of why a version is missing.

use squidmesh_core::{RunId, StoreError, StrandedRequest};

use crate::clock::millis;
use crate::database::Database;
use crate::error::failed;
use crate::rows::run_id_from_row;
use crate::sql::Sql;

/// Every queue that there is work for, found one after the other in the index, and every class of priority.
const QUEUES: &str = "WITH RECURSIVE queues(line) AS (\
     SELECT min(queue) FROM squidmesh_intents UNION ALL \
     SELECT (SELECT min(queue) FROM squidmesh_intents WHERE queue > line) FROM queues WHERE line IS NOT NULL), \
     classes(rank) AS (VALUES (0), (1), (2)) ";

/// The stranded runs that a request asks for.
pub(crate) async fn stranded(database: &Database, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
    let sql = Sql::on(database.reader());
    let mut sql = match request.run {
        Some(run) => sql.push("SELECT DISTINCT run_id FROM squidmesh_intents WHERE run_id = ").bind(run.as_uuid()),
        None => sql
            .push(QUEUES)
            .push("SELECT DISTINCT run_id FROM queues CROSS JOIN classes CROSS JOIN squidmesh_intents ")
            .push("WHERE queue = line AND priority = rank"),
    };
    sql = database.clock().now(sql.push(" AND available_at <= ")).push(" - ").bind(millis(request.due_for));
    if !request.known.is_empty() {
        let known = request.known.iter().map(ToString::to_string);
        sql = sql.push(" AND fingerprint NOT IN (").list(known).push(")");
    }
    if let Some(after) = request.after {
        sql = sql.push(" AND run_id > ").bind(after.as_uuid());
    }
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
    let rows = sql.push(" ORDER BY run_id LIMIT ").bind(limit).fetch(database.reader()).await;
    let rows = rows.map_err(failed("looking for stranded runs"))?;
    // A row that cannot be read must not hide the others.
    Ok(rows.iter().filter_map(|row| run_id_from_row(row, "run_id").ok()).collect())
}
